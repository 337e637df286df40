import { assert, timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { LockOp, type ReadSpan, type TxnReply, type TxnWriteCommand } from '@cairn/wire';

import { mapKey } from './keys.js';

type Command<Type extends TxnWriteCommand['type']> = Extract<TxnWriteCommand, { readonly type: Type }>;

export interface FakeVersion {
  readonly ts: number;
  /** Tells apart what was written at one timestamp. */
  readonly seq: number;
  /** undefined = deleted. */
  readonly value: Uint8Array | undefined;
  /** The transaction that wrote it; 0 = a plain write, or one that has read nothing. */
  readonly start: number;
  /** 0 = never. */
  readonly expiry: number;
}

export interface FakeLock {
  readonly start: number;
  readonly primary: Uint8Array;
  readonly op: LockOp;
  readonly value: Uint8Array;
  readonly ttlMs: number;
  readonly minCommit: number;
  pushedTo: number;
  deadline: number;
}

/**
 * Versions, locks and records of transactions, with the rules T3 to T10, without ranges and time of its own.
 */
export class FakeRows {
  /** Ascending. */
  readonly versions = new Map<string, FakeVersion[]>();
  readonly locks = new Map<string, FakeLock>();
  /** By key and start: the commit timestamp, 0 = rolled back. */
  readonly records = new Map<string, number>();
  /** Where committed transactions are in the order of all, by start. */
  readonly positions = new Map<string, { readonly ts: number; readonly seq: number }>();
  readableSince = 0;
  #max = 0;
  #seq = 0;

  observe(ts: number): void {
    this.#max = Math.max(this.#max, ts);
  }

  tooOld(): TxnReply {
    return { type: 'tooOld', readableSince: timestamp(this.readableSince) };
  }

  /** The timestamp of a write of now. */
  get derived(): number {
    return this.#max + 1;
  }

  /** Of what was written last. */
  get lastSeq(): number {
    return this.#seq;
  }

  write(
    key: Uint8Array,
    value: Uint8Array | undefined,
    more: { readonly start: number; readonly ttlMs: number; readonly commit?: number },
  ): FakeVersion {
    const ts = more.commit ?? this.#max + 1;
    this.#seq += 1;
    const expiry =
      more.ttlMs === 0
        ? 0
        : (Math.ceil(ts / TIMESTAMP_LOGICAL_STEPS) + Math.ceil(more.ttlMs)) * TIMESTAMP_LOGICAL_STEPS;
    const version = { ts, seq: this.#seq, value, start: more.start, expiry };
    const versions = this.versions.get(mapKey(key)) ?? [];
    const newest = versions[versions.length - 1];
    assert(newest === undefined || newest.ts <= ts, 'versions of a key ascend', { newest: newest?.ts, ts });
    assert(
      more.commit === undefined || newest === undefined || newest.ts < ts,
      'nothing was written at or above a commit while its key was locked',
    );
    versions.push(version);
    this.versions.set(mapKey(key), versions);
    return version;
  }

  newest(key: Uint8Array): number {
    const versions = this.versions.get(mapKey(key)) ?? [];
    return versions[versions.length - 1]?.ts ?? 0;
  }

  /** The newest at or below `at`, unless it is deleted or expired at `now`. */
  liveAt(key: Uint8Array, at: number, now: number): FakeVersion | undefined {
    const version = this.versions.get(mapKey(key))?.findLast(({ ts }) => ts <= at);
    if (version?.value === undefined) return undefined;
    return version.expiry > 0 && version.expiry <= now ? undefined : version;
  }

  namesIn(spans: readonly ReadSpan[]): string[] {
    const names = new Set([...this.versions.keys(), ...this.locks.keys()]);
    return [...names].filter((name) =>
      spans.some(({ start, end }) => name >= mapKey(start) && (end.length === 0 || name < mapKey(end))),
    );
  }

  conflictOf(keys: readonly Uint8Array[], start: number): TxnReply | undefined {
    const key = keys.find((each) => this.newest(each) > start);
    return key === undefined ? undefined : { type: 'conflict', key, newest: timestamp(this.newest(key)) };
  }

  validate(keys: readonly Uint8Array[], start: number, commit: number): TxnReply {
    for (const key of keys) {
      const versions = this.versions.get(mapKey(key)) ?? [];
      const newer = versions.find(({ ts }) => ts > start && ts <= commit);
      if (newer !== undefined) return { type: 'conflict', key, newest: timestamp(newer.ts) };
      const read = this.liveAt(key, start, start);
      if (read !== undefined && read.expiry > 0 && read.expiry <= commit) {
        return { type: 'conflict', key, newest: timestamp(0) };
      }
    }
    return { type: 'valid' };
  }

  /** What a prewrite hears of a transaction that is decided at one of its keys. */
  decidedAt({ mutations, start }: Command<'prewrite'>): TxnReply | undefined {
    for (const { key } of mutations) {
      const record = this.records.get(recordKey(key, start));
      if (record === 0) return { type: 'rolledBack' };
      if (record !== undefined) return { type: 'committed', commit: timestamp(record) };
    }
    return undefined;
  }

  prewrite({ lockTtlMs, mutations, primary, start }: Command<'prewrite'>, now: number): TxnReply {
    let minCommit = this.#max + 1;
    for (const { key, op, value, ttlMs } of mutations) {
      const own = this.locks.get(mapKey(key));
      if (own !== undefined) {
        minCommit = Math.max(minCommit, own.minCommit);
        continue;
      }
      const deadline = now + lockTtlMs * TIMESTAMP_LOGICAL_STEPS;
      this.locks.set(mapKey(key), {
        ...{ start, primary, op, value, ttlMs },
        ...{ minCommit: this.#max + 1, pushedTo: 0, deadline },
      });
    }
    return { type: 'prewritten', minCommit: timestamp(minCommit) };
  }

  commit({ commit, keys, primary, start }: Command<'commit'>, floor: number): TxnReply {
    const lock = this.locks.get(mapKey(primary));
    if (lock?.start !== start) return this.#decidedOrRolledBack(primary, start);
    const minCommit = Math.max(lock.minCommit, lock.pushedTo + 1, floor + 1);
    if (commit < minCommit) return { type: 'pushed', minCommit: timestamp(minCommit) };
    for (const key of [primary, ...keys]) {
      assert(this.locks.get(mapKey(key))?.start === start, 'a commit finds all locks of its command');
      this.#carryOut(key, start, commit);
    }
    this.records.set(recordKey(primary, start), commit);
    this.positions.set(String(start), { ts: commit, seq: Infinity });
    return { type: 'committed', commit };
  }

  resolve({ commit, keys, start }: Command<'resolve'>): TxnReply {
    if (commit > 0) {
      assert(this.positions.get(String(start))?.ts === commit, 'only what was decided is carried out', {
        start,
      });
      for (const key of keys) {
        if (this.locks.get(mapKey(key))?.start === start) this.#carryOut(key, start, commit);
      }
      return { type: 'resolved' };
    }
    for (const key of keys) {
      const decided = timestamp(this.records.get(recordKey(key, start)) ?? 0);
      if (decided > 0) return { type: 'committed', commit: decided };
    }
    assert(!this.positions.has(String(start)), 'what was committed is not rolled back', { start });
    for (const key of keys) {
      if (this.locks.get(mapKey(key))?.start === start) this.locks.delete(mapKey(key));
      this.records.set(recordKey(key, start), 0);
    }
    return { type: 'resolved' };
  }

  check({ lockDeadline, primary, pushTo, start }: Command<'check'>, now: number): TxnReply {
    const lock = this.locks.get(mapKey(primary));
    if (lock?.start !== start) {
      const isToCome = !this.records.has(recordKey(primary, start)) && lockDeadline > now;
      if (!isToCome) return this.#decidedOrRolledBack(primary, start);
      return { type: 'pending', minCommit: timestamp(this.#max + 1), deadline: lockDeadline };
    }
    if (lock.deadline <= now) {
      this.locks.delete(mapKey(primary));
      return this.#decidedOrRolledBack(primary, start);
    }
    lock.pushedTo = Math.max(lock.pushedTo, pushTo);
    const minCommit = timestamp(Math.max(lock.minCommit, lock.pushedTo + 1));
    return { type: 'pending', minCommit, deadline: timestamp(lock.deadline) };
  }

  heartbeat({ lockTtlMs, primary, start }: Command<'heartbeat'>, now: number): TxnReply {
    const lock = this.locks.get(mapKey(primary));
    if (lock?.start !== start) return this.#decidedOrRolledBack(primary, start);
    lock.deadline = Math.max(lock.deadline, now + lockTtlMs * TIMESTAMP_LOGICAL_STEPS);
    return { type: 'pending', minCommit: timestamp(lock.minCommit), deadline: timestamp(lock.deadline) };
  }

  #decidedOrRolledBack(primary: Uint8Array, start: number): TxnReply {
    const record = this.records.get(recordKey(primary, start)) ?? 0;
    this.records.set(recordKey(primary, start), record);
    return record > 0 ? { type: 'committed', commit: timestamp(record) } : { type: 'rolledBack' };
  }

  #carryOut(key: Uint8Array, start: number, commit: number): void {
    const lock = this.locks.get(mapKey(key)) as FakeLock;
    this.locks.delete(mapKey(key));
    this.observe(commit);
    if (lock.op === LockOp.none) return;
    const value = lock.op === LockOp.put ? lock.value : undefined;
    this.write(key, value, { start, ttlMs: lock.ttlMs, commit });
  }
}

function recordKey(key: Uint8Array, start: number): string {
  return `${mapKey(key)}/${start}`;
}
