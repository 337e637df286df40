import type { Clock, Logger, Timer } from '@cairn/ports';

import type { SupportedReplica } from './heartbeat-peer.js';
import type { Housekeeping } from './housekeeping.js';
import type { LeaseGuard } from './lease-guard.js';
import type { StoreConfig } from './store-config.js';
import type { StoreHeartbeats } from './store-heartbeats.js';
import type { StoreLife } from './store-life.js';
import type { StoreMetrics } from './store-metrics.js';
import type { TickingReplicas } from './ticking-replicas.js';

export interface TickerParts {
  readonly clock: Clock;
  readonly config: Pick<StoreConfig, 'tickIntervalMs' | 'leaseDurationMs'>;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  readonly heartbeats: Pick<StoreHeartbeats, 'tick' | 'flush' | 'noteCommits'>;
  readonly leases: LeaseGuard;
  readonly ticking: TickingReplicas<SupportedReplica>;
  /** All replicas of the store. */
  readonly replicas: { readonly size: number };
  readonly housekeeping: Housekeeping;
  readonly life: Pick<StoreLife, 'whenOver'>;
}

/** Lets time pass in a store: for its heartbeats, and for those replicas that need ticks. */
export class Ticker {
  readonly #parts: TickerParts;
  #timer: Timer | undefined;
  #lastTickMs = 0;
  #wasPaused = false;

  constructor(parts: TickerParts) {
    this.#parts = parts;
    parts.life.whenOver(() => {
      this.stop();
    });
  }

  start(): void {
    this.#lastTickMs = this.#parts.clock.nowMs();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer = this.#parts.clock.setTimer(this.#parts.config.tickIntervalMs, () => {
      if (this.#timer === undefined) return;
      this.#tick();
      // The end of a tick may have been the end of the store.
      if (this.#timer !== undefined) this.#arm();
    });
  }

  #tick(): void {
    const { clock, config, heartbeats, leases, logger, metrics, ticking } = this.#parts;
    const nowMs = clock.nowMs();
    const gapMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    leases.check(nowMs);
    // Whoever slept this long may have slept anywhere, also between a lease check and what it protects.
    const wasPaused = gapMs > config.leaseDurationMs / 2;
    if (wasPaused) {
      metrics.pause();
      logger.warn('process was paused, leases dropped', { gapMs: Math.round(gapMs) });
      leases.dropLeases(nowMs);
    }
    // One gap is excused; a process that always ticks late is held to its timers.
    heartbeats.tick(nowMs, wasPaused && !this.#wasPaused ? gapMs : 0);
    this.#wasPaused = wasPaused;
    for (const replica of ticking) this.#tickReplica(replica, nowMs);
    heartbeats.flush(nowMs);
    metrics.quiescentReplicas(this.#parts.replicas.size - ticking.size);
    this.#parts.housekeeping.poll();
  }

  #tickReplica(replica: SupportedReplica, nowMs: number): void {
    const { heartbeats, ticking } = this.#parts;
    const { raft } = replica;
    if (!replica.isClosed) {
      raft.tick(nowMs);
      heartbeats.noteCommits(replica);
      if (raft.hasReady()) replica.wake();
      if (!raft.isQuiescent) return;
    }
    ticking.stop(replica);
  }
}
