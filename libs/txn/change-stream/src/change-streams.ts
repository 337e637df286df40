import { CairnError, FairShare, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import type { Clock, Metrics, Rng, Timer } from '@cairn/ports';
import { invalidField } from '@cairn/routing';

import { BacklogRoom } from './backlog-room.js';
import { CatchUps } from './catch-ups.js';
import { Feeds } from './feeds.js';
import { DEFAULT_STREAM_LIMITS, type StreamLimits } from './limits.js';
import { StreamMetrics } from './metrics.js';
import { Nudges } from './nudges.js';
import { endOf, type Position } from './positions.js';
import { isPassing } from './retries.js';
import { decodeToken } from './tokens.js';
import type { ChangesSource, EncodeChange, Watch, WatchOptions } from './types.js';
import { Watcher, type WatcherHost } from './watcher.js';

const TICK_MS = 250;
const RETRY_AFTER_MS = 500;
/** Feeds that told nothing are asked so often between two signs of life of a watch. */
const REFRESHES_PER_PROGRESS = 2;

export interface ChangeStreamsOptions {
  readonly source: ChangesSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics: Metrics;
  readonly encode: EncodeChange;
  readonly limits?: Partial<StreamLimits>;
}

/**
 * The watches of one router, and what they share: one feed for each range that is watched, bounds, and the
 * timestamps that let idle ranges be resolved. Keeps nothing that a restart would lose: callers have tokens.
 */
export class ChangeStreams {
  readonly limits: StreamLimits;
  readonly #options: ChangeStreamsOptions;
  readonly #host: WatcherHost;
  readonly #nudges: Nudges;
  readonly #places: FairShare;
  readonly #watchers = new Set<Watcher>();
  /** What each caller has; no entry for who has none. */
  readonly #byCaller = new Map<string, number>();
  /** Places, those of watches that are about to begin included. */
  #taken = 0;
  #settleIsDue = false;
  #tick: Timer | undefined;
  #isRefreshing = false;
  #closedWith: CairnError | undefined;

  constructor(options: ChangeStreamsOptions) {
    const { source, clock, rng, encode } = options;
    this.#options = options;
    this.limits = { ...DEFAULT_STREAM_LIMITS, ...options.limits };
    const { limits } = this;
    this.#places = new FairShare(limits.watchersMax);
    this.#nudges = new Nudges({ source, clock });
    const feeds = new Feeds({ source, clock, rng, encode, limits }, () => {
      this.#settleLater();
    });
    const room = new BacklogRoom(limits.backlogsBytesMax, () => clock.nowMs());
    const catchUps = new CatchUps(limits.catchUpsMax);
    const metrics = new StreamMetrics(options.metrics, () => ({
      ...{ watchers: this.#watchers.size, feeds: feeds.count, backlogBytes: room.used },
      ...{ unresolvedBytes: feeds.unresolvedBytes, catchUps: catchUps.running + catchUps.waiting },
    }));
    this.#host = {
      ...{ source, clock, rng, limits, encode, feeds, room, catchUps, metrics },
      waits: (watcher) => {
        this.#nudges.add(watcher);
        this.#settleLater();
      },
      ended: (watcher) => {
        this.#ended(watcher);
      },
    };
  }

  get count(): number {
    return this.#watchers.size;
  }

  get feeds(): number {
    return this.#host.feeds.count;
  }

  get backlogBytes(): number {
    return this.#host.room.used;
  }

  /**
   * Opens a watch; the signal ends one that has not begun. Rejects with INVALID_ARGUMENT for what is no
   * token, and for a timestamp that the oracle has not issued; RESOURCE_EXHAUSTED when the caller has its
   * share; UNAVAILABLE when this router stops.
   */
  async watch(options: WatchOptions, signal?: AbortSignal): Promise<Watch> {
    const position = positionOf(options);
    const { caller } = options;
    this.#takePlace(caller);
    let fresh: Timestamp;
    try {
      if (position === undefined) await this.#prime(options, signal);
      fresh = await this.#options.source.timestamp();
      if (position !== undefined) refuseFuture(options, position, fresh);
      if (this.#closedWith !== undefined) throw this.#closedWith;
    } catch (error) {
      this.#givePlace(caller);
      throw error;
    }
    const watcher = new Watcher(this.#host, options, position);
    this.#watchers.add(watcher);
    const close = (): void => {
      watcher.close();
    };
    signal?.addEventListener('abort', close, { once: true });
    if (signal?.aborted === true) close();
    this.#tickLater();
    try {
      await watcher.listen(fresh);
    } catch (error) {
      rethrowInvariant(error);
      watcher.fail(error);
      throw error;
    } finally {
      signal?.removeEventListener('abort', close);
    }
    return watcher;
  }

  /** Before the timestamp is taken that a watch from now begins behind. */
  async #prime({ span, withPrevious }: WatchOptions, signal?: AbortSignal): Promise<void> {
    const { feeds, clock, limits } = this.#host;
    const over = new AbortController();
    const timer = clock.setTimer(limits.primeMs, () => {
      over.abort();
    });
    const ends = signal === undefined ? [over.signal] : [over.signal, signal];
    try {
      await feeds.prime(span, withPrevious, AbortSignal.any(ends));
    } finally {
      timer.cancel();
    }
  }

  /** Ends all watches, and lets no more begin: their callers go on at another router. */
  close(): void {
    this.#closedWith ??= new CairnError('UNAVAILABLE', 'the router is stopping', { retryAfterMs: 100 });
    for (const watcher of [...this.#watchers]) watcher.fail(this.#closedWith);
    this.#tick?.cancel();
    this.#nudges.close();
    this.#host.feeds.close();
  }

  #takePlace(caller: string): void {
    if (this.#closedWith !== undefined) throw this.#closedWith;
    const own = this.#byCaller.get(caller) ?? 0;
    if (!this.#places.allows(own, 1, this.#taken)) {
      throw new CairnError(
        'RESOURCE_EXHAUSTED',
        `too many watches are open at this router; the limit is ${this.limits.watchersMax}, which connections share`,
        { retryAfterMs: RETRY_AFTER_MS },
      );
    }
    this.#taken += 1;
    this.#byCaller.set(caller, own + 1);
  }

  #givePlace(caller: string): void {
    this.#taken -= 1;
    const left = (this.#byCaller.get(caller) ?? 0) - 1;
    if (left > 0) this.#byCaller.set(caller, left);
    else this.#byCaller.delete(caller);
  }

  #ended(watcher: Watcher): void {
    if (!this.#watchers.delete(watcher)) return;
    this.#nudges.delete(watcher);
    this.#givePlace(watcher.caller);
  }

  #settleLater(): void {
    if (this.#settleIsDue) return;
    this.#settleIsDue = true;
    this.#options.clock.defer(() => {
      this.#settleIsDue = false;
      this.#nudges.settle();
    });
  }

  #tickLater(): void {
    if (this.#closedWith !== undefined) return;
    this.#tick ??= this.#options.clock.setTimer(TICK_MS, () => {
      this.#tick = undefined;
      const nowMs = this.#options.clock.nowMs();
      let progressMs = Infinity;
      for (const watcher of [...this.#watchers]) {
        progressMs = Math.min(progressMs, watcher.progressMs);
        watcher.tick(nowMs);
      }
      if (this.#watchers.size === 0) return;
      this.#refresh(nowMs - progressMs / REFRESHES_PER_PROGRESS);
      this.#tickLater();
    });
  }

  /** Brings a fresh timestamp to the feeds that have told nothing since: so idle ones are resolved, too. */
  #refresh(sinceMs: number): void {
    const { feeds, source } = this.#host;
    const isIdle = [...feeds.all()].some((feed) => feed.advancedAtMs <= sinceMs && feed.subscribers.size > 0);
    if (!isIdle || this.#isRefreshing) return;
    this.#isRefreshing = true;
    source
      .timestamp()
      .then(
        (fresh) => {
          for (const feed of feeds.all()) {
            if (feed.advancedAtMs <= sinceMs && feed.subscribers.size > 0) feed.want(timestamp(fresh));
          }
        },
        (error: unknown) => {
          rethrowInvariant(error);
          // It is asked for again at the next tick.
          if (!isPassing(error)) throw error;
        },
      )
      .finally(() => {
        this.#isRefreshing = false;
      })
      .catch(rethrowInvariant);
  }
}

/** undefined = from now on. Throws INVALID_ARGUMENT. */
function positionOf({ from }: WatchOptions): Position | undefined {
  switch (from.type) {
    case 'now':
      return undefined;
    case 'token':
      return decodeToken(from.token);
    case 'timestamp':
      return endOf(from.timestamp);
  }
}

function refuseFuture({ from }: WatchOptions, { timestamp: at }: Position, fresh: Timestamp): void {
  if (at <= fresh) return;
  const field = from.type === 'token' ? 'token' : 'timestamp';
  throw invalidField(field, `${field} lies in the future: this cluster has not issued it`);
}
