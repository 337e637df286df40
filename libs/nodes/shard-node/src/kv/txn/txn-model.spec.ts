import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { KvOp, type KvResponse, type TxnReply, type TxnWriteCommand } from '@cairn/wire';
import fc from 'fast-check';

import { answerOf, bytes, type Sent } from '../kv-rig.testing.js';
import { checkOf, commitOf, deleteOf, getOf, prewriteOf, putOf, replyOf, TxnRig } from './txn-rig.testing.js';

/*
 * Goal: whatever transactions and plain operations do to a range, in whatever order and however often, is
 * what a sequential specification says. Method: a naive model is told every command that took effect;
 * answers and, at the end, every key at every timestamp are compared. Leaderships end in between, with
 * entries in the log that are lost, or that the next leader commits.
 */

const KEYS = ['a', 'b', 'c', 'd'] as const;
type Key = (typeof KEYS)[number];
const SLOTS = [0, 1];

/** What happens to the entry of a command: it commits here, under the next leader, or never. */
type Fate = 'commits' | 'hands-over' | 'is-lost';

type PlainStep = { readonly type: 'put' | 'delete' | 'get' | 'getAt' | 'restart'; readonly key: Key };
type ExecuteStep = {
  readonly type: 'execute';
  readonly read: Key;
  readonly key: Key;
  readonly isStale: boolean;
};

type Step = { readonly fate: Fate } & (
  | { readonly type: 'begin'; readonly slot: number; readonly primary: Key }
  | { readonly type: 'prewrite'; readonly slot: number; readonly keys: readonly Key[] }
  | { readonly type: 'commit'; readonly slot: number; readonly isOld: boolean }
  | { readonly type: 'resolve' | 'rollBack' | 'check' | 'push'; readonly slot: number; readonly key: Key }
  | PlainStep
  | ExecuteStep
);

const key = fc.constantFrom(...KEYS);
const slot = fc.constantFrom(...SLOTS);
const fate = fc.constantFrom<Fate>('commits', 'commits', 'commits', 'commits', 'hands-over', 'is-lost');
const ofType = <T extends string>(type: T): fc.Arbitrary<T> => fc.constant(type);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ fate, type: ofType('begin'), slot, primary: key }),
  fc.record({ fate, type: ofType('prewrite'), slot, keys: fc.subarray([...KEYS], { minLength: 1 }) }),
  fc.record({ fate, type: ofType('prewrite'), slot, keys: fc.subarray([...KEYS], { minLength: 1 }) }),
  fc.record({ fate, type: ofType('commit'), slot, isOld: fc.boolean() }),
  fc.record({ fate, type: fc.constantFrom('resolve', 'rollBack', 'check', 'push'), slot, key }),
  fc.record({ fate, type: fc.constantFrom('put', 'delete', 'get', 'getAt', 'restart'), key }),
  fc.record({ fate, type: ofType('execute'), read: key, key, isStale: fc.boolean() }),
);

const FIRST = { type: 'begin', fate: 'commits', primary: 'a' } as const;

interface ModelLock {
  readonly start: Timestamp;
  readonly value: string;
  readonly minCommit: number;
  pushed: number;
}

interface Transaction {
  readonly start: Timestamp;
  readonly primary: Key;
  /** A timestamp that was issued soon after it began. */
  readonly early: Timestamp;
}

class Model {
  readonly versions = new Map<Key, { at: number; value: string | undefined }[]>();
  readonly locks = new Map<Key, ModelLock>();
  /** By key and start: a commit, or 0. */
  readonly decided = new Map<string, number>();

  newest(of: Key): number {
    return this.versions.get(of)?.at(-1)?.at ?? 0;
  }

  valueAt(of: Key, at: number): string | undefined {
    return this.versions.get(of)?.findLast((version) => version.at <= at)?.value;
  }

  write(of: Key, at: number, value: string | undefined): void {
    const versions = this.versions.get(of) ?? [];
    expect(at).toBeGreaterThanOrEqual(versions.at(-1)?.at ?? 0);
    this.versions.set(of, [...versions, { at, value }]);
  }

  decision(of: Key, start: Timestamp): TxnReply | undefined {
    const commit = this.decided.get(`${of}/${start}`);
    if (commit === undefined) return undefined;
    return commit === 0 ? { type: 'rolledBack' } : { type: 'committed', commit: timestamp(commit) };
  }

  decide(of: Key, start: Timestamp, commit: number): void {
    this.decided.set(`${of}/${start}`, commit);
  }

  /** The lock of the transaction goes, and leaves what it held. */
  release(of: Key, start: Timestamp, commit: number): void {
    const lock = this.locks.get(of);
    if (lock?.start !== start) return;
    this.locks.delete(of);
    // One that came late holds nothing.
    if (commit >= lock.minCommit) this.write(of, commit, lock.value);
  }
}

interface Outcome {
  readonly response: KvResponse | undefined;
  readonly isDone: boolean;
}

interface Told {
  /** undefined = nobody heard it. */
  readonly reply: TxnReply | 'LOCKED' | undefined;
  readonly tookEffect: boolean;
}

class Run {
  readonly rig: TxnRig;
  readonly model = new Model();
  readonly #transactions = new Map<number, Transaction>();
  readonly #issued: Timestamp[] = [];
  #values = 0;

  constructor(rig: TxnRig) {
    this.rig = rig;
  }

  issue(): Timestamp {
    const issued = this.rig.issue();
    this.#issued.push(issued);
    return issued;
  }

  /** The answer, if somebody heard it, and whether the command was carried out. */
  async send(sent: Sent, of: Fate): Promise<Outcome> {
    const { kv } = this.rig;
    if (of === 'commits') {
      await kv.run();
      return { response: answerOf(sent), isDone: true };
    }
    // Far enough to be in the log, if it gets there.
    for (let turn = 0; turn < 3; turn += 1) await kv.turn();
    if (sent.answers.length === 1) return { response: answerOf(sent), isDone: true };
    const isLogged = kv.replica.log.length > 0;
    kv.replica.stepDown();
    if (of === 'is-lost') kv.replica.log.length = 0;
    await kv.replica.commit();
    await kv.replica.lead();
    await kv.run();
    const response = answerOf(sent);
    if (response.error?.code !== 'NOT_LEADER') return { response, isDone: true };
    return { response: undefined, isDone: isLogged && of === 'hands-over' };
  }

  async tell(command: TxnWriteCommand, of: Fate): Promise<Told> {
    const sent = this.rig.write(command);
    const { response, isDone } = await this.send(sent, of);
    if (response === undefined) return { reply: undefined, tookEffect: isDone };
    const isLocked = response.error?.code === 'LOCKED';
    return { reply: isLocked ? 'LOCKED' : replyOf(sent), tookEffect: true };
  }

  async take(next: Step): Promise<void> {
    switch (next.type) {
      case 'begin':
        this.#transactions.set(next.slot, {
          start: this.issue(),
          primary: next.primary,
          early: this.issue(),
        });
        return;
      case 'prewrite':
        return this.#with(next.slot, (of) => this.#prewrite(of, next.keys, next.fate));
      case 'commit':
        return this.#with(next.slot, (of) => this.#commit(of, next.isOld, next.fate));
      case 'resolve':
      case 'rollBack':
        return this.#with(next.slot, (of) => this.#resolve(of, next, next.fate));
      case 'check':
      case 'push':
        return this.#with(next.slot, (of) => this.#check(of, next.type === 'push', next.fate));
      case 'put':
      case 'delete':
        return this.#plain(next.key, next.type === 'put', next.fate);
      case 'get':
        return this.#get(next.key);
      case 'getAt':
        return this.#getAt(next.key);
      case 'execute':
        return this.#execute(next, next.fate);
      case 'restart':
        await this.rig.kv.restart([]);
        await this.rig.kv.replica.lead();
    }
  }

  async #with(of: number, act: (transaction: Transaction) => Promise<void>): Promise<void> {
    const transaction = this.#transactions.get(of);
    if (transaction !== undefined) await act(transaction);
  }

  async #prewrite({ start, primary }: Transaction, keys: readonly Key[], of: Fate): Promise<void> {
    this.#values += 1;
    const value = `v${this.#values}`;
    const expected = this.#expectPrewrite(start, keys);
    const changes = Object.fromEntries(keys.map((each) => [each, value]));
    const before = this.rig.kv.max;
    const { reply, tookEffect } = await this.tell(prewriteOf(start, changes, primary), of);
    if (reply !== undefined) {
      if (typeof reply === 'string') expect(expected).toBe(reply);
      else expect(reply).toMatchObject(typeof expected === 'string' ? { type: expected } : expected);
    }
    if (expected !== 'prewritten' || !tookEffect) return;
    for (const each of keys) {
      if (this.model.locks.has(each)) continue;
      // A lock that nobody answered for has one that is not known exactly; commits ask for no less.
      const minCommit = Math.max(before, start) + 1;
      this.model.locks.set(each, { start, value, minCommit, pushed: 0 });
    }
  }

  #expectPrewrite(start: Timestamp, keys: readonly Key[]): 'prewritten' | 'LOCKED' | TxnReply {
    let isLocked = false;
    for (const each of keys) {
      const lock = this.model.locks.get(each);
      if (lock?.start === start) continue;
      const decision = this.model.decision(each, start);
      if (decision !== undefined) return decision;
      if (lock !== undefined) isLocked = true;
      else if (this.model.newest(each) > start) {
        return { type: 'conflict', key: bytes(each), newest: timestamp(this.model.newest(each)) };
      }
    }
    return isLocked ? 'LOCKED' : 'prewritten';
  }

  async #commit({ start, primary, early }: Transaction, isOld: boolean, of: Fate): Promise<void> {
    const commit = isOld ? early : this.issue();
    const lock = this.model.locks.get(primary);
    const { leaderSince } = this.rig.kv.machine.debugView();
    const { reply, tookEffect } = await this.tell(commitOf(start, commit, primary), of);
    if (lock?.start !== start) {
      this.#expectDecided(primary, start, { reply, tookEffect });
      return;
    }
    const isPushed = commit <= Math.max(lock.minCommit - 1, lock.pushed, leaderSince);
    if (reply !== undefined) {
      expect(reply).toMatchObject({ type: isPushed ? 'pushed' : 'committed' });
    }
    if (isPushed || !tookEffect) return;
    this.model.release(primary, start, commit);
    this.model.decide(primary, start, commit);
  }

  /** At a primary without a lock: decided, or from now on rolled back. */
  #expectDecided(primary: Key, start: Timestamp, { reply, tookEffect }: Told): void {
    const decision = this.model.decision(primary, start);
    if (reply !== undefined) expect(reply).toEqual(decision ?? { type: 'rolledBack' });
    if (tookEffect && decision === undefined) this.model.decide(primary, start, 0);
  }

  /** As whoever has asked the primary does: by its decision, if there is one. */
  async #resolve(
    { start, primary }: Transaction,
    { type, key: at }: { readonly type: string; readonly key: Key },
    of: Fate,
  ): Promise<void> {
    const decided = this.model.decided.get(`${primary}/${start}`);
    if (at !== primary && decided === undefined) return;
    const commit = at === primary ? 0 : (decided ?? 0);
    if (type === 'rollBack' && commit > 0) return;
    const known = this.model.decision(at, start);
    const command = { type: 'resolve', start, commit: timestamp(commit), keys: [bytes(at)] } as const;
    const { reply, tookEffect } = await this.tell(command, of);
    const isTooLate = commit === 0 && known?.type === 'committed';
    if (reply !== undefined) expect(reply).toEqual(isTooLate ? known : { type: 'resolved' });
    if (!tookEffect || isTooLate) return;
    this.model.release(at, start, commit);
    if (commit === 0) this.model.decide(at, start, 0);
  }

  async #check({ start, primary }: Transaction, isPush: boolean, of: Fate): Promise<void> {
    const pushTo = isPush ? this.issue() : timestamp(0);
    const lock = this.model.locks.get(primary);
    const told = await this.tell(checkOf(start, primary, { pushTo }), of);
    if (lock?.start !== start) this.#expectDecided(primary, start, told);
    else if (told.reply !== undefined) {
      expect(told.reply).toMatchObject({ type: 'pending' });
      lock.pushed = Math.max(lock.pushed, pushTo);
    }
  }

  async #plain(at: Key, isPut: boolean, of: Fate): Promise<void> {
    const value = isPut ? `p${(this.#values += 1)}` : undefined;
    const isLocked = this.model.locks.has(at);
    const hasChange = isPut || this.model.valueAt(at, Infinity) !== undefined;
    const when = this.rig.kv.max + 1;
    const fields = isPut ? { op: KvOp.put, value: bytes(value ?? '') } : { op: KvOp.delete };
    const { response, isDone } = await this.send(this.rig.kv.send({ ...fields, key: bytes(at) }), of);
    if (response !== undefined) expect(response.error?.code).toBe(isLocked ? 'LOCKED' : undefined);
    if (response !== undefined && hasChange && !isLocked) expect(response.timestamp).toBe(when);
    if (isDone && hasChange && !isLocked) this.model.write(at, when, value);
  }

  async #get(at: Key): Promise<void> {
    const expected = this.model.locks.has(at) ? 'LOCKED' : this.model.valueAt(at, Infinity);
    expect(await this.rig.get(at)).toBe(expected);
  }

  async #getAt(at: Key): Promise<void> {
    const when = this.#issued[this.#values % Math.max(1, this.#issued.length)] ?? this.issue();
    const isLocked = (this.model.locks.get(at)?.minCommit ?? Infinity) <= when;
    expect(await this.rig.getAt(at, when)).toBe(isLocked ? 'LOCKED' : this.model.valueAt(at, when));
  }

  async #execute({ read, key: at, isStale }: ExecuteStep, of: Fate): Promise<void> {
    const start = (isStale ? this.#issued[0] : undefined) ?? this.issue();
    const value = `x${(this.#values += 1)}`;
    const isPut = this.#values % 3 > 0;
    const isLocked = this.model.locks.has(read) || this.model.locks.has(at);
    const isConflict = this.model.newest(read) > start;
    const isThere = this.model.valueAt(at, Infinity) !== undefined;
    const commit = this.rig.kv.oracle.next + TIMESTAMP_LOGICAL_STEPS + 1;
    const then = [getOf(read), isPut ? putOf(at, value) : deleteOf(at)];
    const sent = this.rig.execute({ start, reads: [bytes(read)], then });
    const { response, isDone } = await this.send(sent, of);
    if (response !== undefined && isLocked) expect(response.error?.code).toBe('LOCKED');
    if (response !== undefined && !isLocked) {
      const reply = replyOf(sent);
      if (isConflict) expect(reply).toMatchObject({ type: 'conflict' });
      else expect(reply).toMatchObject({ commit, results: [{ row: this.#rowOf(read) }, {}] });
    }
    if (!isDone || isLocked || isConflict) return;
    if (isPut || isThere) this.model.write(at, commit, isPut ? value : undefined);
  }

  #rowOf(of: Key): object {
    const value = this.model.valueAt(of, Infinity);
    return value === undefined ? { found: false } : { found: true, value: bytes(value) };
  }

  /** Every key at every timestamp at which something happened, locks passed over. */
  async end(): Promise<void> {
    const { locks, versions } = this.model;
    expect(this.rig.kv.machine.debugView().locks).toBe(locks.size);
    const ignoreLocks = [...locks.values()].map(({ start }) => start).sort((one, other) => one - other);
    this.rig.kv.environment.timestamps.observe(this.issue());
    for (const [of, written] of versions) {
      for (const { at } of written) {
        for (const when of [at - 1, at]) {
          expect(await this.rig.getAt(of, timestamp(when), { ignoreLocks })).toBe(
            this.model.valueAt(of, when),
          );
        }
      }
    }
  }
}

describe('one range', () => {
  it('does what a sequential specification does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const run = new Run(await TxnRig.leading());
        for (const of of SLOTS) await run.take({ ...FIRST, slot: of });
        for (const next of steps) await run.take(next);
        await run.end();
      }),
      { numRuns: 150 },
    );
  }, 120_000);
});
