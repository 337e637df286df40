import type { RangeId } from '@cairn/base';
import type { Clock, Logger, Timer } from '@cairn/ports';

import type { SupportedReplica } from './heartbeat-peer.js';
import type { StoreConfig } from './store-config.js';
import type { StoreHeartbeats } from './store-heartbeats.js';
import type { StoreMetrics } from './store-metrics.js';

export interface TickerParts {
  readonly clock: Clock;
  readonly config: StoreConfig;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  readonly heartbeats: StoreHeartbeats;
  /** All replicas of the store. */
  readonly replicas: ReadonlyMap<RangeId, SupportedReplica>;
  /** Notices a suspension of the machine; see `LeaseGuard`. */
  guardLeases(nowMs: number): void;
  /** At the end of each tick. */
  ticked(): void;
}

/**
 * Lets time pass in a store: for its heartbeats, and for those replicas that need ticks. Most do not (see
 * `RaftNode.isQuiescent`), so that a tick costs what is under way and not what is stored.
 */
export class Ticker {
  readonly #parts: TickerParts;
  readonly #ticking = new Set<SupportedReplica>();
  #timer: Timer | undefined;
  #lastTickMs = 0;
  #wasPaused = false;

  constructor(parts: TickerParts) {
    this.#parts = parts;
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

  /** Nothing that was promised before now may be relied on. */
  dropLeases(nowMs: number): void {
    this.#parts.heartbeats.dropLeases();
    for (const replica of this.#parts.replicas.values()) replica.raft.dropLease(nowMs);
  }

  /** The replica gets the next tick, and further ones as long as it needs them. */
  startTicking(replica: SupportedReplica): void {
    if (replica.isTicking) return;
    replica.isTicking = true;
    this.#ticking.add(replica);
  }

  /** The replica is quiescent: no more ticks. */
  stopTicking(replica: SupportedReplica): void {
    replica.isTicking = false;
    this.#ticking.delete(replica);
  }

  #tick(): void {
    const { clock, config, heartbeats, logger, metrics } = this.#parts;
    const nowMs = clock.nowMs();
    const gapMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    this.#parts.guardLeases(nowMs);
    // Whoever slept this long may have slept anywhere, also between a lease check and what it protects.
    const wasPaused = gapMs > config.leaseDurationMs / 2;
    if (wasPaused) {
      metrics.pause();
      logger.warn('process was paused, leases dropped', { gapMs: Math.round(gapMs) });
      this.dropLeases(nowMs);
    }
    // One gap is excused; a process that always ticks late is held to its timers.
    heartbeats.tick(nowMs, wasPaused && !this.#wasPaused ? gapMs : 0);
    this.#wasPaused = wasPaused;
    for (const replica of this.#ticking) this.#tickReplica(replica, nowMs);
    heartbeats.flush(nowMs);
    metrics.quiescentReplicas(this.#parts.replicas.size - this.#ticking.size);
    this.#parts.ticked();
  }

  #tickReplica(replica: SupportedReplica, nowMs: number): void {
    const { raft } = replica;
    if (!replica.isClosed) {
      raft.tick(nowMs);
      this.#parts.heartbeats.noteCommits(replica);
      if (raft.hasReady()) replica.wake();
      if (!raft.isQuiescent) return;
    }
    this.stopTicking(replica);
  }
}
