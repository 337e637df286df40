import { DeadlockDetector } from './deadlock-detector.js';
import { LockBound } from './lock-bound.js';
import type { MetadataView } from './metadata-state.js';
import { NodeTable } from './node-table.js';
import { RangeMap, type Coverage } from './range-map.js';

/** A store or router that was not heard from for this long is not live. Heartbeats come every second. */
const LIVE_TIMEOUT_MS = 5_000;

const NOTHING_WRONG: Coverage = { gaps: 0, conflicts: 0, firstGap: undefined };

/** All that a leader knows beside the replicated state. Gained from heartbeats, forgotten with leadership. */
export class LeaderMemory {
  readonly nodes = new NodeTable({ liveTimeoutMs: LIVE_TIMEOUT_MS });
  readonly ranges = new RangeMap();
  readonly locks = new LockBound();
  readonly waits = new DeadlockDetector();
  #coverage = NOTHING_WRONG;
  #gapsSinceMs: number | undefined;
  #sinceMs = 0;
  #firstRangeMs: number | undefined;

  /** What the last look over the key space found. */
  get coverage(): Coverage {
    return this.#coverage;
  }

  /** When this leadership began, on the monotonic clock. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /**
   * When this leader decided about the first range of the cluster; undefined = another one did, or nobody.
   */
  get firstRangeMs(): number | undefined {
    return this.#firstRangeMs;
  }

  reset(state: MetadataView | undefined, nowMs: number): void {
    this.nodes.reset(state, nowMs);
    this.ranges.clear();
    this.locks.reset();
    this.waits.reset();
    this.#coverage = NOTHING_WRONG;
    this.#gapsSinceMs = undefined;
    this.#sinceMs = nowMs;
    this.#firstRangeMs = undefined;
  }

  firstRangeDecided(nowMs: number): void {
    this.#firstRangeMs = nowMs;
  }

  /** Looks over the key space. Says nothing before all live stores have told their ranges. */
  look(nowMs: number): Coverage {
    this.#coverage = this.ranges.coverage();
    if (this.#coverage.gaps === 0) this.#gapsSinceMs = undefined;
    else this.#gapsSinceMs ??= nowMs;
    return this.#coverage;
  }

  /** Since when every look has found a gap, in milliseconds ago; undefined = the last one found none. */
  gapsForMs(nowMs: number): number | undefined {
    return this.#gapsSinceMs === undefined ? undefined : nowMs - this.#gapsSinceMs;
  }
}

const COUNTS_PER_TERM = 2 ** 20;

/**
 * Version of a list that is only compared for equality: differs between terms, because another leader counted
 * for itself, and between the changes within one. Never 0, which nodes send for "none".
 */
export function listVersion(term: number, changes: number): number {
  return term * COUNTS_PER_TERM + (changes % COUNTS_PER_TERM) + 1;
}
