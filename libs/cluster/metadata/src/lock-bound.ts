import { timestamp, type StoreId, type Timestamp } from '@cairn/base';

import type { MetadataView } from './metadata-state.js';
import type { NodeTable } from './node-table.js';
import type { Coverage, RangeMap } from './range-map.js';

/** Looks in a row that must agree, and of which the smallest counts. */
const LOOKS = 3;

/** What a leader has heard. */
interface Heard {
  readonly nodes: NodeTable;
  readonly ranges: RangeMap;
  /** What the last look over the key space found. */
  readonly coverage: Coverage;
}

/**
 * Below which start timestamp no range has a lock, and none will ever have one. Each store tells the smallest
 * lock of the ranges it leads and the safe point it was told, below which it takes no lock any more. What all
 * of them say holds for the whole cluster when every range was spoken for: by a store that said in the same
 * heartbeat that it leads it. A range that changes its leader between two heartbeats is spoken for by one of
 * them, or has none at a look; only the smallest of several looks is believed. Whatever was true once stays
 * true, so the bound only rises while this member leads.
 */
export class LockBound {
  #looks: Timestamp[] = [];
  #bound = timestamp(0);

  /** 0 = not known. */
  get bound(): Timestamp {
    return this.#bound;
  }

  reset(): void {
    this.#looks = [];
    this.#bound = timestamp(0);
  }

  /** Call it every few seconds, after a look over the key space. */
  look(state: MetadataView, heard: Heard): void {
    const now = boundNow(state, heard);
    if (now === undefined) {
      this.#looks = [];
      return;
    }
    this.#looks = [...this.#looks, now].slice(-LOOKS);
    if (this.#looks.length < LOOKS) return;
    this.#bound = timestamp(Math.max(this.#bound, Math.min(...this.#looks)));
  }
}

/** What all stores together say now; undefined = one of them is missing, or a range is led by nobody. */
function boundNow(state: MetadataView, { nodes, ranges, coverage }: Heard): Timestamp | undefined {
  if (ranges.size === 0 || coverage.gaps > 0 || coverage.conflicts > 0) return undefined;
  const needed = new Set<StoreId>();
  for (const { descriptor, leaderStoreId, placing } of ranges.entries()) {
    for (const { storeId } of descriptor.replicas) needed.add(storeId);
    if (placing !== 'shown') continue;
    if (leaderStoreId === 0 || !nodes.isStoreLive(state, leaderStoreId)) return undefined;
  }
  let bound: number = state.gcSafePoint;
  for (const [name, { storeId, isLost }] of state.nodes) {
    if (isLost) continue;
    const contact = nodes.get(name);
    if (contact?.isLive !== true || !contact.hasContact) {
      // One that no range names any more leads none.
      if (needed.has(storeId)) return undefined;
      continue;
    }
    if (!contact.hasFull && needed.has(storeId)) return undefined;
    const { oldestLock, heardGcSafePoint } = contact.numbers;
    bound = Math.min(bound, heardGcSafePoint, oldestLock === 0 ? Infinity : oldestLock);
  }
  return bound === 0 ? undefined : timestamp(bound);
}
