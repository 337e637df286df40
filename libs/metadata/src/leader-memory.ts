import type { MetadataView } from './metadata-state.js';
import { NodeTable } from './node-table.js';
import { RangeMap, type Coverage } from './range-map.js';

/** A store or router that was not heard from for this long is not live. Heartbeats come every second. */
const LIVE_TIMEOUT_MS = 5_000;

/** All that a leader knows beside the replicated state. Gained from heartbeats, forgotten with leadership. */
export class LeaderMemory {
  readonly nodes = new NodeTable({ liveTimeoutMs: LIVE_TIMEOUT_MS });
  readonly ranges = new RangeMap();
  /** As of the last look. */
  coverage: Coverage = { gaps: 0, conflicts: 0, firstGap: undefined };

  reset(state: MetadataView | undefined, nowMs: number): void {
    this.nodes.reset(state, nowMs);
    this.ranges.clear();
    this.coverage = { gaps: 0, conflicts: 0, firstGap: undefined };
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
