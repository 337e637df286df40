import { assert, type RangeDescriptor, type RangeId, type StoreId } from '@cairn/base';
import { compareKeys, isBelowEnd } from './keys.js';

const NO_STORE = 0 as StoreId;

/** One known range. The descriptor never changes; a newer one makes a new entry. */
export class RouteEntry {
  readonly descriptor: RangeDescriptor;
  readonly rangeId: RangeId;
  readonly epochVersion: number;
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  /** 0 = unknown. */
  leaderStoreId: StoreId;
  /** Still used, but the metadata service should be asked at the next occasion. */
  needsReload = false;
  /** Where the round-robin of stale reads is. */
  staleCursor = 0;
  /** Where the search for a leader goes on. */
  searchCursor = 0;

  constructor(descriptor: RangeDescriptor, leaderStoreId: StoreId) {
    this.descriptor = descriptor;
    this.rangeId = descriptor.rangeId;
    this.epochVersion = descriptor.epoch.version;
    this.startKey = descriptor.startKey;
    this.endKey = descriptor.endKey;
    this.leaderStoreId = leaderStoreId;
  }
}

/** What became of an inserted descriptor. */
export type InsertOutcome = 'inserted' | 'same' | 'stale';

function isOlder(left: RangeDescriptor, right: RangeDescriptor): boolean {
  if (left.epoch.version !== right.epoch.version) return left.epoch.version < right.epoch.version;
  return left.rangeId === right.rangeId && left.epoch.confVersion < right.epoch.confVersion;
}

function hasVoter(descriptor: RangeDescriptor, store: StoreId): boolean {
  return descriptor.replicas.some((replica) => replica.storeId === store && replica.role !== 'learner');
}

/**
 * The known ranges in key order, without overlap; gaps are ranges not known yet. A descriptor never replaces
 * a newer one: `version` grows along every split and merge, so of two overlapping descriptors the higher
 * version is the newer, whatever their range ids; `confVersion` decides between two of the same range.
 *
 * Lookup is a binary search over an array; insertion moves the tail of that array, which is cheap at the tens
 * of thousands of entries one router holds, and rare.
 */
export class RangeCache {
  readonly #entries: RouteEntry[] = [];

  get size(): number {
    return this.#entries.length;
  }

  /** In key order; for status pages and tests. */
  entries(): readonly RouteEntry[] {
    return this.#entries;
  }

  /** The range that holds the key. */
  find(key: Uint8Array): RouteEntry | undefined {
    const at = this.#lastAtOrBelow(key);
    if (at < 0) return undefined;
    const entry = this.#entries[at] as RouteEntry;
    return isBelowEnd(key, entry.endKey) ? entry : undefined;
  }

  /** The range that holds the keys just below an exclusive end; an empty end is that of the key space. */
  findBelow(end: Uint8Array): RouteEntry | undefined {
    const last = this.#entries[this.#entries.length - 1];
    if (end.length === 0) return last !== undefined && last.endKey.length === 0 ? last : undefined;
    let at = this.#lastAtOrBelow(end);
    if (at >= 0 && compareKeys((this.#entries[at] as RouteEntry).startKey, end) === 0) at -= 1;
    const entry = this.#entries[at];
    if (entry === undefined) return undefined;
    return entry.endKey.length === 0 || compareKeys(end, entry.endKey) <= 0 ? entry : undefined;
  }

  /**
   * Takes in what somebody said about a range. `leaderStoreId` 0 leaves a known leader alone; a new range
   * begins with the leader of the one it was cut from, who leads both at first.
   */
  insert(descriptor: RangeDescriptor, leaderStoreId: StoreId): InsertOutcome {
    const { startKey, endKey } = descriptor;
    const isSpan = endKey.length === 0 || compareKeys(startKey, endKey) < 0;
    assert(isSpan, 'a range ends before it starts', { rangeId: descriptor.rangeId });
    const first = this.#firstEndingAbove(startKey);
    let past = first;
    let leader = leaderStoreId;
    let inherited = NO_STORE;
    for (; past < this.#entries.length; past += 1) {
      const known = this.#entries[past] as RouteEntry;
      if (!isBelowEnd(known.startKey, endKey)) break;
      if (isOlder(descriptor, known.descriptor)) return 'stale';
      if (known.rangeId !== descriptor.rangeId) {
        if (inherited === NO_STORE) inherited = known.leaderStoreId;
        continue;
      }
      if (known.epochVersion === descriptor.epoch.version && !isOlder(known.descriptor, descriptor)) {
        if (leaderStoreId !== NO_STORE) known.leaderStoreId = leaderStoreId;
        known.needsReload = false;
        return 'same';
      }
      if (leader === NO_STORE) leader = known.leaderStoreId;
    }
    if (leader === NO_STORE) leader = inherited;
    if (leader !== NO_STORE && !hasVoter(descriptor, leader)) leader = NO_STORE;
    this.#entries.splice(first, past - first, new RouteEntry(descriptor, leader));
    return 'inserted';
  }

  /** Index of the last entry whose start is not above the key; -1 = none. */
  #lastAtOrBelow(key: Uint8Array): number {
    const entries = this.#entries;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys((entries[middle] as RouteEntry).startKey, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Index of the first entry that ends above the key. */
  #firstEndingAbove(key: Uint8Array): number {
    const at = this.#lastAtOrBelow(key);
    if (at < 0) return 0;
    return isBelowEnd(key, (this.#entries[at] as RouteEntry).endKey) ? at : at + 1;
  }
}
