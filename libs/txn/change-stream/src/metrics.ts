import { timestampToUnixMs } from '@cairn/base';
import type { Counter, Histogram, Metrics } from '@cairn/ports';

import type { ResetReason, StreamEvent } from './types.js';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

export interface StreamGauges {
  readonly watchers: number;
  readonly feeds: number;
  readonly backlogBytes: number;
  readonly unresolvedBytes: number;
  readonly catchUps: number;
}

/** What change streams measure. */
export class StreamMetrics {
  readonly #changes: Counter;
  readonly #resets: Counter;
  readonly #catchUps: Counter;
  readonly #delay: Histogram;

  constructor(metrics: Metrics, gauges: () => StreamGauges) {
    this.#changes = metrics.counter(
      'cairn_router_watch_changes_total',
      'Changes that became ready for watches; one that several watch counts for each',
    );
    this.#resets = metrics.counter(
      'cairn_router_watch_resets_total',
      'Watches that were reset, by reason: their history is gone, or their callers took nothing',
      ['reason'],
    );
    this.#catchUps = metrics.counter(
      'cairn_router_watch_catch_ups_total',
      'Passes that read what was before, for watches that begin there or that fell behind',
    );
    this.#delay = metrics.histogram(
      'cairn_router_watch_delay_seconds',
      'Time from the commit timestamp of a change until it was ready for a watch; the newest of each batch',
      SECONDS,
    );
    const watchers = metrics.gauge('cairn_router_watchers', 'Watches that are open');
    const feeds = metrics.gauge('cairn_router_watch_feeds', 'Ranges whose changes are asked for');
    const backlog = metrics.gauge(
      'cairn_router_watch_backlog_bytes',
      'Bytes of changes that watches have and their callers have not taken; one that several have counts for each',
    );
    const unresolved = metrics.gauge(
      'cairn_router_watch_unresolved_bytes',
      'Bytes of changes that are not resolved in their range',
    );
    const catchUps = metrics.gauge(
      'cairn_router_watch_catch_ups',
      'Passes under way that read what was before, those that wait for their turn included',
    );
    metrics.onCollect(() => {
      const now = gauges();
      watchers.set(now.watchers);
      feeds.set(now.feeds);
      backlog.set(now.backlogBytes);
      unresolved.set(now.unresolvedBytes);
      catchUps.set(now.catchUps);
    });
  }

  /** They became ready, in order. */
  ready(events: readonly StreamEvent[], unixMs: number): void {
    const newest = events[events.length - 1];
    if (newest === undefined) return;
    this.#changes.add(events.length);
    this.#delay.observe(Math.max(0, unixMs - timestampToUnixMs(newest.timestamp)) / 1_000);
  }

  reset(reason: ResetReason): void {
    this.#resets.add(1, { reason });
  }

  catchesUp(): void {
    this.#catchUps.add(1);
  }
}
