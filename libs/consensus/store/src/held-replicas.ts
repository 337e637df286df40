import { CairnError, type RangeDescriptor, type RangeId } from '@cairn/base';
import type { Clock, Logger, Timer } from '@cairn/ports';

import { covers, overlap } from './range-spans.js';
import type { RecoveredReplica } from './recovery.js';

/** How often it is tried again whether the rows of a half-installed snapshot have room. */
const RETRY_MS = 5_000;
/** And how often that is logged at most. */
const LOG_INTERVAL_MS = 60_000;

interface Held {
  readonly replica: RecoveredReplica;
  /** What it covers until it is installed. */
  readonly span: RangeDescriptor;
}

export interface HeldReplicasParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Finishes the installation and opens the replica. Rejects DISK_FULL while its rows have no room. */
  recover(replica: RecoveredReplica): Promise<void>;
  fatal(error: unknown): void;
}

/**
 * Replicas in the middle of whose installation the process before ended, and whose rows have no room now. Of
 * such a replica there are neither the old rows nor the new ones, and its log is about to be replaced: it
 * takes part in nothing, and nothing takes its place, until the installation could be finished. It is tried
 * again and again; the others do not wait for it. Bounded by the replicas that the log holds.
 */
export class HeldReplicas {
  readonly #parts: HeldReplicasParts;
  readonly #held = new Map<RangeId, Held>();
  #retry: Timer | undefined;
  #loggedMs: number | undefined;
  #isStopped = false;

  constructor(parts: HeldReplicasParts) {
    this.#parts = parts;
  }

  has(rangeId: RangeId): boolean {
    return this.#held.has(rangeId);
  }

  get size(): number {
    return this.#held.size;
  }

  isCovered(key: Uint8Array): boolean {
    return [...this.#held.values()].some(({ span }) => covers(span, key));
  }

  /** One of another range that shares keys with the span. */
  overlapping(other: RangeDescriptor): RecoveredReplica | undefined {
    for (const { replica, span } of this.#held.values())
      if (replica.rangeId !== other.rangeId && overlap(span, other)) return replica;
    return undefined;
  }

  /** Spools that are still needed. */
  get spools(): string[] {
    return [...this.#held.values()].map(({ replica }) => replica.state.installing ?? '');
  }

  /** Resolves when the replica is there, or when it has to wait. Rejects with what is no lack of room. */
  async begin(replica: RecoveredReplica, span: RangeDescriptor): Promise<void> {
    this.#held.set(replica.rangeId, { replica, span });
    await this.#try(replica);
  }

  stop(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
  }

  async #try(replica: RecoveredReplica): Promise<void> {
    const { clock, logger } = this.#parts;
    try {
      await this.#parts.recover(replica);
      this.#held.delete(replica.rangeId);
    } catch (error) {
      if (!CairnError.is(error) || error.code !== 'DISK_FULL') throw error;
      const nowMs = clock.nowMs();
      if (this.#loggedMs === undefined || nowMs - this.#loggedMs >= LOG_INTERVAL_MS) {
        this.#loggedMs = nowMs;
        logger.warn('a replica waits for room', { range: replica.rangeId, reason: error.message });
      }
      this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#isStopped) return;
    this.#retry ??= this.#parts.clock.setTimer(RETRY_MS, () => {
      this.#retry = undefined;
      this.#tryAll().catch((error: unknown) => {
        this.#parts.fatal(error);
      });
    });
  }

  async #tryAll(): Promise<void> {
    for (const { replica } of [...this.#held.values()]) {
      if (this.#isStopped) return;
      await this.#try(replica);
    }
  }
}
