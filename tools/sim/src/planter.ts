import { CairnError, RowKind, timestamp, type LogIndex, type Timestamp } from '@cairn/base';
import type { CairnClient } from '@cairn/client';
import {
  encodeIncarnation,
  encodeLockRow,
  encodeMemberKey,
  encodeMembersForm,
  encodeRow,
  encodeTransactionRow,
  encodeVersionKey,
  LockRowOp,
  NO_EXPIRY,
  WriteBatchBuilder,
  type VersionRecord,
} from '@cairn/mvcc';
import { sleep, type Clock } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';
import type { Replica } from '@cairn/store';

import type { SimCluster } from './cluster.js';
import { fateOf } from './outcomes.js';

/** Keys that hold collections, bytes or nothing; only the planter writes them. */
export const PLANTED = Array.from({ length: 6 }, (_, at) => `m${at}`);
/** A collection that is put once and stays: it gets as old as what garbage collection looks at. */
const LASTING = 'm0';
const PREFIX = 'm';
const MEMBERS_MAX = 5;
const TAG = 1;
/** What is not applied by then may still be, some time. */
const APPLY_LIMIT_MS = 1_000;
const LOOK_MS = 5;
const TTL_MS = 3_600_000;
const UNKNOWN = 'unknown';

export interface PlanterOptions {
  readonly client: CairnClient;
  readonly clock: Clock;
  readonly rng: SimRng;
  isOn(): boolean;
  violate(checker: string, message: string): void;
}

/** What this client knows of a key. */
interface Plant {
  /** The collection that was put there last. */
  incarnation: Buffer | undefined;
  members: number;
  /** Nothing that it asked for is under way any more. */
  isSettled: boolean;
  /** What the key holds; `unknown` when something that was asked for may have happened, or may still. */
  kind: string | undefined;
  /** Locked keys, by the engine key of the lock in hexadecimal. */
  readonly locks: Map<string, string>;
}

/**
 * Writes rows into all namespaces of ranges under load, as transactions and collections will: whole, through
 * the log of whoever leads, beside what clients ask for. A collection is put with all its members in one
 * entry, and says how many it has; so whoever has its header must have them. Looks at it all through the
 * doors, too.
 */
export class Planter {
  readonly #cluster: SimCluster;
  readonly #options: PlanterOptions;
  readonly #plants = new Map<string, Plant>();
  #serial = 0;
  /** Entries of its that it saw applied. */
  planted = 0;

  constructor(cluster: SimCluster, options: PlanterOptions) {
    this.#cluster = cluster;
    this.#options = options;
    for (const key of PLANTED) {
      const nothing = { incarnation: undefined, members: 0, kind: undefined, isSettled: true };
      this.#plants.set(key, { ...nothing, locks: new Map() });
    }
  }

  async run(): Promise<void> {
    const { clock, rng } = this.#options;
    while (this.#options.isOn()) {
      await sleep(clock, rng.between(5, 60));
      try {
        await this.#one(rng.pick(PLANTED));
      } catch (error) {
        if (!CairnError.is(error) || fateOf(error) === undefined) throw error;
      }
    }
  }

  #one(drawn: string): Promise<void> {
    const key = this.#mayChange(drawn) ? drawn : (PLANTED.at(-1) ?? drawn);
    const dice = this.#options.rng.integer(100);
    if (dice < 30) return this.#putCollection(key);
    if (dice < 45) return this.#putMember(key);
    if (dice < 60) return this.#lock(key);
    if (dice < 68) return this.#putRecord(key);
    if (dice < 80) return this.#expire(key);
    if (dice < 85) return this.#replace(key);
    if (dice < 90) return this.#get(key);
    return this.#scan();
  }

  #mayChange(key: string): boolean {
    return key !== LASTING || this.#plant(key).incarnation === undefined;
  }

  #plant(key: string): Plant {
    return this.#plants.get(key) as Plant;
  }

  /** A timestamp at or below which nobody writes the key any more, and that is above all that was written. */
  async #moment(key: string): Promise<Timestamp> {
    const { client } = this.#options;
    const at = await client.timestamp();
    await this.#kindOf(() => client.get(key, { consistency: { timestamp: at } }));
    return timestamp(at);
  }

  async #putCollection(key: string): Promise<void> {
    const at = await this.#moment(key);
    const members = 1 + this.#options.rng.integer(MEMBERS_MAX);
    const incarnation = encodeIncarnation(at, 0);
    const builder = new WriteBatchBuilder();
    const value = Buffer.concat([encodeMembersForm(incarnation), Buffer.of(members)]);
    const header = versionAt(at, { kind: RowKind.hash, value });
    builder.addPut(...encodeRow(encodeVersionKey(Buffer.from(key), at, 0), header, at));
    for (let sub = 0; sub < members; sub += 1) this.#addMember(builder, { key, incarnation, sub }, at);
    const plant = this.#plant(key);
    const isKnown = plant.isSettled;
    plant.isSettled = false;
    plant.kind = UNKNOWN;
    if (!(await this.#log(key, builder))) return;
    Object.assign(plant, { incarnation, members, isSettled: true, kind: isKnown ? 'hash' : UNKNOWN });
  }

  /** Another version of a member that is there. */
  async #putMember(key: string): Promise<void> {
    const { incarnation, members } = this.#plant(key);
    if (incarnation === undefined) return;
    const at = await this.#moment(key);
    const builder = new WriteBatchBuilder();
    this.#addMember(builder, { key, incarnation, sub: this.#options.rng.integer(members) }, at);
    await this.#log(key, builder);
  }

  #addMember(
    builder: WriteBatchBuilder,
    { key, incarnation, sub }: { readonly key: string; readonly incarnation: Buffer; readonly sub: number },
    at: Timestamp,
  ): void {
    const name = { userKey: Buffer.from(key), incarnation, tag: TAG, sub: Buffer.from(`field ${sub}`) };
    const value = Buffer.from(`value ${this.#next()}`);
    builder.addPut(...encodeRow(encodeMemberKey(name, at, 0), versionAt(at, { value })));
  }

  /** Locks one more key beside it, or gives a lock back. */
  async #lock(key: string): Promise<void> {
    const { locks } = this.#plant(key);
    const [held] = locks;
    const builder = new WriteBatchBuilder();
    if (held !== undefined && this.#options.rng.chance(0.6)) {
      const [engineKey, lockedKey] = held;
      builder.addRemove(Buffer.from(engineKey, 'hex'), 0);
      if (await this.#log(lockedKey, builder)) locks.delete(engineKey);
      return;
    }
    // Of a key that nobody asks for, by a transaction that commits after everything: it is in nobody's way.
    const lockedKey = `${key}\0${this.#next()}`;
    const end = timestamp(Number.MAX_SAFE_INTEGER);
    const row = encodeLockRow(Buffer.from(lockedKey), {
      ...{ start: end, op: LockRowOp.put, minCommit: end, deadline: end, ttlMs: 0 },
      ...{ primary: Buffer.from(lockedKey), value: Buffer.from('planted') },
    });
    builder.addPut(...row);
    await this.#log(lockedKey, builder);
    locks.set(row[0].toString('hex'), lockedKey);
  }

  async #putRecord(key: string): Promise<void> {
    const builder = new WriteBatchBuilder();
    const [kept, gone] = [this.#record(key), this.#record(key)];
    builder.addPut(...kept);
    builder.addPut(...gone);
    builder.addRemove(gone[0], gone[1].length);
    await this.#log(key, builder);
  }

  /** Of a transaction that began before all others. */
  #record(key: string): readonly [Buffer, Buffer] {
    const start = timestamp(this.#next());
    return encodeTransactionRow(Buffer.from(key), start, timestamp(start + 1));
  }

  #next(): number {
    this.#serial += 1;
    return this.#serial;
  }

  /**
   * The row of the key is written anew as it is: only where nothing is under way, as it is not evaluated
   * against what came by no command and is not applied yet.
   */
  async #expire(key: string): Promise<void> {
    const plant = this.#plant(key);
    if (!plant.isSettled) return;
    plant.isSettled = false;
    const { client, rng } = this.#options;
    await (rng.chance(0.5) ? client.expire(key, TTL_MS) : client.persist(key));
    plant.isSettled = true;
  }

  /** What is there goes, whatever it is; its members are left behind. */
  async #replace(key: string): Promise<void> {
    const plant = this.#plant(key);
    const isKnown = plant.isSettled;
    Object.assign(plant, { isSettled: false, incarnation: undefined, kind: UNKNOWN });
    const { client, rng } = this.#options;
    const kind = rng.chance(0.5) ? 'bytes' : undefined;
    await (kind === undefined ? client.delete(key) : client.put(key, 'bytes'));
    Object.assign(plant, { isSettled: true, kind: isKnown ? kind : UNKNOWN });
  }

  async #get(key: string): Promise<void> {
    this.#judge(key, await this.#kindOf(() => this.#options.client.get(key)));
  }

  /** The kind that a read tells, by its answer or its error. */
  async #kindOf(read: () => ReturnType<CairnClient['get']>): Promise<string | undefined> {
    try {
      const entry = await read();
      if (entry !== undefined && entry.value.toString() !== 'bytes') return `bytes that nobody put there`;
      return entry?.kind;
    } catch (error) {
      if (!CairnError.is(error) || error.code !== 'WRONG_KIND') throw error;
      return String(error.details['kind']);
    }
  }

  async #scan(): Promise<void> {
    const kinds = new Map<string, string>();
    for await (const row of this.#options.client.scan({ prefix: PREFIX })) {
      kinds.set(row.keyText(), row.kind);
      const value = row.value.toString();
      if (value !== (row.kind === 'bytes' ? 'bytes' : ''))
        this.#options.violate('kinds', `a scan shows "${value}" of ${row.keyText()}, a ${row.kind}`);
    }
    for (const key of PLANTED) this.#judge(key, kinds.get(key));
  }

  /** Nobody else writes the key. */
  #judge(key: string, found: string | undefined): void {
    const { kind } = this.#plant(key);
    if (kind === UNKNOWN ? [undefined, 'bytes', 'hash'].includes(found) : kind === found) return;
    this.#options.violate('kinds', `${key} holds ${found ?? 'nothing'} where ${kind ?? 'nothing'} was put`);
  }

  /** Proposes where the key is led, and waits; answers whether it is applied there. */
  async #log(key: string, builder: WriteBatchBuilder): Promise<boolean> {
    const replica = this.#leaderOf(key);
    const result = replica?.propose(builder.finish());
    if (replica === undefined || result?.type !== 'accepted') return false;
    const isApplied = await this.#applied(replica, result.index);
    if (isApplied) this.planted += 1;
    return isApplied;
  }

  async #applied(replica: Replica, index: LogIndex): Promise<boolean> {
    const { clock } = this.#options;
    const { term } = replica;
    const untilMs = clock.nowMs() + APPLY_LIMIT_MS;
    while (replica.appliedIndex < index) {
      if (clock.nowMs() >= untilMs || replica.isClosed || replica.term !== term) return false;
      await sleep(clock, LOOK_MS);
    }
    return replica.isLeader && replica.term === term;
  }

  /** Behind a split in its log the keys may belong to another range. */
  #leaderOf(key: string): Replica | undefined {
    const bytes = Buffer.from(key);
    for (const node of this.#cluster.shards) {
      for (const replica of node.replicas()) {
        const { startKey, endKey } = replica.descriptorOrUndefined ?? {};
        if (startKey === undefined || endKey === undefined || Buffer.compare(bytes, startKey) < 0) continue;
        if (endKey.length > 0 && Buffer.compare(bytes, endKey) >= 0) continue;
        if (replica.isReadyLeader && !replica.isFrozen) return replica;
      }
    }
    return undefined;
  }
}

function versionAt(at: Timestamp, more: Partial<VersionRecord>): VersionRecord {
  return {
    timestamp: at,
    sequence: 0,
    expiry: NO_EXPIRY,
    tombstone: false,
    kind: RowKind.bytes,
    value: Buffer.alloc(0),
    ...more,
  };
}
