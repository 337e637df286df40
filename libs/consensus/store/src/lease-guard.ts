import type { Clock, Logger } from '@cairn/ports';
import type { RaftNode } from '@cairn/raft';

import type { StoreConfig } from './store-config.js';
import type { StoreHeartbeats } from './store-heartbeats.js';
import type { StoreMetrics } from './store-metrics.js';

/** How fast the difference of the clocks is followed: twice what time services slew a clock by. */
const FOLLOWED_PER_MS = 0.001;

export interface LeaseGuardParts {
  readonly clock: Clock;
  readonly config: Pick<StoreConfig, 'leaseDurationMs' | 'voteHoldMs'>;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  readonly heartbeats: Pick<StoreHeartbeats, 'dropLeases'>;
  /** All replicas of the store. */
  readonly replicas: Iterable<{ readonly raft: Pick<RaftNode, 'dropLease'> }>;
}

/**
 * Notices that the machine was suspended. Leases are counted on the monotonic clock, which stands still
 * meanwhile, while the other stores elect a new leader. The wall clock is set right when the machine resumes:
 * when it has run ahead of the monotonic one by more than the margin, whatever the cause, no lease is worth
 * anything. Short suspensions add up, because the difference is followed only slowly.
 *
 * What remains: a suspension that the wall clock does not show either (a virtual machine whose clocks are
 * both stopped, until its time service sets them), and one that falls together with setting the wall clock
 * back. Until the first message of a newer term arrives, such a store may serve reads from its old lease.
 */
export class LeaseGuard {
  readonly #parts: LeaseGuardParts;
  readonly #marginMs: number;
  /** What the wall clock is ahead of the monotonic one. */
  #aheadMs: number;
  #lookedAtMs: number;

  constructor(parts: LeaseGuardParts) {
    const {
      clock,
      config: { leaseDurationMs, voteHoldMs },
    } = parts;
    this.#parts = parts;
    // By so much the votes are held longer than the leases last; the other half is for clocks that drift.
    this.#marginMs = (voteHoldMs - leaseDurationMs) / 2;
    this.#lookedAtMs = clock.nowMs();
    this.#aheadMs = clock.unixMs() - this.#lookedAtMs;
  }

  /** Nothing that was promised before now may be relied on. */
  dropLeases(nowMs: number): void {
    this.#parts.heartbeats.dropLeases();
    for (const { raft } of this.#parts.replicas) raft.dropLease(nowMs);
  }

  /** With each tick, and right before a lease is relied on. */
  check(nowMs: number): void {
    const aheadMs = this.#parts.clock.unixMs() - nowMs;
    const sleptMs = aheadMs - this.#aheadMs;
    if (sleptMs > this.#marginMs) {
      this.#aheadMs = aheadMs;
      this.#parts.metrics.pause();
      this.#parts.logger.warn('the machine was suspended or its clock set on, leases dropped', {
        byMs: Math.round(sleptMs),
      });
      this.dropLeases(nowMs);
    } else {
      const passedMs = Math.max(0, nowMs - this.#lookedAtMs);
      this.#aheadMs += Math.min(sleptMs, passedMs * FOLLOWED_PER_MS);
    }
    this.#lookedAtMs = nowMs;
  }
}
