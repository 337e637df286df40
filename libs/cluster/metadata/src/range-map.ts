import {
  assert,
  type RangeDescriptor,
  type RangeId,
  type ReplicaId,
  type StoreId,
  NO_BYTES,
} from '@cairn/base';

import { compareEpochs } from './descriptor-messages.js';

/** What one store says of one of its replicas. */
export interface RangeFacts {
  readonly descriptor: RangeDescriptor;
  /** The term this store leads the range in; 0 = it follows. */
  readonly leaderTerm: number;
  readonly bytes: number;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  /** Replicas that have not caught up, as the leader sees it. */
  readonly laggingReplicas: number;
}

/**
 * Place of a range in the index of the key space: `shown`, or left out because a newer range holds part of
 * its span (`stale`: its split or merge has not been reported by a replica of its own yet) or one of the same
 * version does (`conflict`: never in a healthy cluster).
 */
export type Placing = 'shown' | 'stale' | 'conflict';

/** One range, as the reports so far add up. */
export interface RangeEntry {
  readonly descriptor: RangeDescriptor;
  /** 0 = unknown. */
  readonly leaderStoreId: StoreId | 0;
  /** Highest term a leader reported. */
  readonly leaderTerm: number;
  readonly bytes: number;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  /** Replicas that have not caught up, as the leader sees it. */
  readonly laggingReplicas: number;
  readonly placing: Placing;
}

interface MutableEntry extends RangeEntry {
  descriptor: RangeDescriptor;
  leaderStoreId: StoreId | 0;
  leaderTerm: number;
  bytes: number;
  readsPerSecond: number;
  writesPerSecond: number;
  laggingReplicas: number;
  placing: Placing;
  /** Stores that reported exactly the descriptor that is here: they have applied it. */
  readonly confirmed: Set<StoreId>;
  /** Stores that reported a replica and did not take it back. */
  readonly reporters: Set<StoreId>;
}

export interface Coverage {
  readonly gaps: number;
  readonly conflicts: number;
  /** Where the first gap begins. */
  readonly firstGap: Uint8Array | undefined;
}

const NO_REPORTS: ReadonlyMap<RangeId, ReplicaId> = new Map();

/**
 * Where ranges are, as far as stores have told: a cache, in memory, forgotten with leadership. Per range the
 * newest epoch and the leader of the highest term win, so reports may come in any order. The index over keys
 * holds no two ranges that overlap: the higher version wins there, because a split gives both sides a version
 * above the whole.
 */
export class RangeMap {
  readonly #byId = new Map<RangeId, MutableEntry>();
  /** The ranges that each store reports, and which replica of them it has. */
  readonly #byStore = new Map<StoreId, Map<RangeId, ReplicaId>>();
  /** Entries placed `shown`, by start key, disjoint. */
  #index: MutableEntry[] = [];
  #hidden = 0;

  /** Ranges heard of. */
  get size(): number {
    return this.#byId.size;
  }

  clear(): void {
    this.#byId.clear();
    this.#byStore.clear();
    this.#index = [];
    this.#hidden = 0;
  }

  entries(): Iterable<RangeEntry> {
    return this.#byId.values();
  }

  get(id: RangeId): RangeEntry | undefined {
    return this.#byId.get(id);
  }

  /** Does the store say it holds a replica of the range? */
  isReported(store: StoreId, id: RangeId): boolean {
    return (this.#byStore.get(store) ?? NO_REPORTS).has(id);
  }

  /** Most of the voters that the newest descriptor names have applied it. */
  isConfirmed(id: RangeId): boolean {
    const entry = this.#byId.get(id);
    if (entry === undefined) return false;
    const voters = entry.descriptor.replicas.filter(({ role }) => role === 'voter' || role === 'incoming');
    const confirming = voters.filter(({ storeId }) => entry.confirmed.has(storeId));
    return confirming.length > voters.length / 2;
  }

  /**
   * Newest descriptors of ranges that the store reports with a replica that is no member of them. A later
   * replica of the same store may be one: it has no place before the other has gone.
   */
  foreignTo(store: StoreId): RangeDescriptor[] {
    const found: RangeDescriptor[] = [];
    for (const [id, replica] of this.#byStore.get(store) ?? NO_REPORTS) {
      const descriptor = this.#byId.get(id)?.descriptor;
      if (descriptor?.replicas.every((member) => member.replicaId !== replica) === true)
        found.push(descriptor);
    }
    return found;
  }

  /** Takes in what a store says of some of its ranges. */
  report(store: StoreId, facts: RangeFacts): void {
    const { descriptor } = facts;
    let entry = this.#byId.get(descriptor.rangeId);
    if (entry === undefined) {
      entry = newEntry(facts);
      this.#byId.set(descriptor.rangeId, entry);
      this.#show(entry);
    } else if (compareEpochs(descriptor.epoch, entry.descriptor.epoch) > 0) {
      this.#hide(entry);
      entry.descriptor = descriptor;
      entry.confirmed.clear();
      this.#show(entry);
    }
    if (compareEpochs(descriptor.epoch, entry.descriptor.epoch) === 0) entry.confirmed.add(store);
    entry.reporters.add(store);
    let ranges = this.#byStore.get(store);
    if (ranges === undefined) {
      ranges = new Map();
      this.#byStore.set(store, ranges);
    }
    ranges.set(descriptor.rangeId, replicaOf(descriptor, store));
    takeLeader(entry, store, facts);
  }

  /** The store holds no replica of these ranges any more. */
  remove(store: StoreId, ids: Iterable<RangeId>): void {
    const ranges = this.#byStore.get(store);
    for (const id of ids) {
      ranges?.delete(id);
      const entry = this.#byId.get(id);
      if (entry === undefined) continue;
      entry.reporters.delete(store);
      entry.confirmed.delete(store);
      if (entry.leaderStoreId === store) entry.leaderStoreId = 0;
      if (entry.reporters.size > 0) continue;
      this.#hide(entry);
      this.#byId.delete(id);
    }
  }

  /** The store's whole list: what it does not name, it does not hold. */
  replace(store: StoreId, reports: readonly RangeFacts[]): void {
    const named = new Set(reports.map((facts) => facts.descriptor.rangeId));
    const gone = [...(this.#byStore.get(store) ?? NO_REPORTS).keys()].filter((id) => !named.has(id));
    for (const facts of reports) this.report(store, facts);
    this.remove(store, gone);
  }

  /** The range that holds the key; undefined when nobody reported one. */
  at(key: Uint8Array): RangeEntry | undefined {
    const entry = this.#index[this.#positionAfter(key) - 1];
    return entry !== undefined && isBeforeEnd(key, entry.descriptor.endKey) ? entry : undefined;
  }

  /**
   * Up to `limit` known ranges from the key on, in key order. Where nothing is known they leave gaps between
   * them, and before the first.
   */
  from(key: Uint8Array, limit: number): RangeEntry[] {
    const after = this.#positionAfter(key);
    const first = this.at(key) === undefined ? after : after - 1;
    return this.#index.slice(first, first + limit);
  }

  /** Looks over the whole key space; ranges that were left out get another chance first. */
  coverage(): Coverage {
    if (this.#hidden > 0) this.#rebuild();
    let gaps = 0;
    let firstGap: Uint8Array | undefined;
    let covered: Uint8Array | undefined = NO_BYTES;
    for (const { descriptor } of this.#index) {
      assert(covered !== undefined, 'a range lies behind the end of the key space', {
        id: descriptor.rangeId,
      });
      if (Buffer.compare(covered, descriptor.startKey) !== 0) {
        gaps += 1;
        firstGap ??= covered;
      }
      covered = descriptor.endKey.length === 0 ? undefined : descriptor.endKey;
    }
    if (covered !== undefined) {
      gaps += 1;
      firstGap ??= covered;
    }
    let conflicts = 0;
    for (const entry of this.#byId.values()) if (entry.placing === 'conflict') conflicts += 1;
    return { gaps, conflicts, firstGap };
  }

  /** Number of indexed ranges that start at or before the key. */
  #positionAfter(key: Uint8Array): number {
    let low = 0;
    let high = this.#index.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare((this.#index[middle] as MutableEntry).descriptor.startKey, key) <= 0)
        low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Puts an entry into the index in place of all older ranges it overlaps, unless one of them is not older.
   */
  #show(entry: MutableEntry): void {
    const { startKey, endKey, epoch } = entry.descriptor;
    let first = this.#positionAfter(startKey);
    const before = this.#index[first - 1];
    if (before !== undefined && isBeforeEnd(startKey, before.descriptor.endKey)) first -= 1;
    let end = first;
    let placing: Placing = 'shown';
    for (; end < this.#index.length; end += 1) {
      const { descriptor } = this.#index[end] as MutableEntry;
      if (!isBeforeEnd(descriptor.startKey, endKey)) break;
      if (descriptor.epoch.version > epoch.version) placing = 'stale';
      else if (descriptor.epoch.version === epoch.version && placing === 'shown') placing = 'conflict';
    }
    entry.placing = placing;
    if (placing !== 'shown') {
      this.#hidden += 1;
      return;
    }
    const replaced = this.#index.splice(first, end - first, entry);
    for (const older of replaced) older.placing = 'stale';
    this.#hidden += replaced.length;
  }

  #hide(entry: MutableEntry): void {
    if (entry.placing !== 'shown') {
      this.#hidden -= 1;
      return;
    }
    const at = this.#positionAfter(entry.descriptor.startKey) - 1;
    assert(this.#index[at] === entry, 'a shown range is not in the index', { id: entry.descriptor.rangeId });
    this.#index.splice(at, 1);
  }

  #rebuild(): void {
    this.#index = [];
    this.#hidden = 0;
    const newestFirst = [...this.#byId.values()].sort(
      (a, b) =>
        b.descriptor.epoch.version - a.descriptor.epoch.version ||
        a.descriptor.rangeId - b.descriptor.rangeId,
    );
    for (const entry of newestFirst) this.#show(entry);
  }
}

function isBeforeEnd(key: Uint8Array, endKey: Uint8Array): boolean {
  return endKey.length === 0 || Buffer.compare(key, endKey) < 0;
}

function newEntry(facts: RangeFacts): MutableEntry {
  return {
    descriptor: facts.descriptor,
    leaderStoreId: 0,
    leaderTerm: 0,
    bytes: facts.bytes,
    readsPerSecond: facts.readsPerSecond,
    writesPerSecond: facts.writesPerSecond,
    laggingReplicas: facts.laggingReplicas,
    placing: 'shown',
    confirmed: new Set(),
    reporters: new Set(),
  };
}

/** The leader of the highest term is the leader; the numbers of a range are those its leader reports. */
function takeLeader(entry: MutableEntry, store: StoreId, facts: RangeFacts): void {
  if (facts.leaderTerm === 0) {
    if (entry.leaderStoreId === store) entry.leaderStoreId = 0;
    return;
  }
  if (facts.leaderTerm < entry.leaderTerm) return;
  entry.leaderTerm = facts.leaderTerm;
  entry.leaderStoreId = store;
  entry.bytes = facts.bytes;
  entry.readsPerSecond = facts.readsPerSecond;
  entry.writesPerSecond = facts.writesPerSecond;
  entry.laggingReplicas = facts.laggingReplicas;
}

/** The replica that a store has of a range, as the descriptor says that it applied; 0 = none. */
function replicaOf(descriptor: RangeDescriptor, store: StoreId): ReplicaId {
  const mine = descriptor.replicas.find((member) => member.storeId === store);
  return mine?.replicaId ?? (0 as ReplicaId);
}
