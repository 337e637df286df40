import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { decodeLockRow, Namespace, rowSpanIn, startOfRecord } from '@cairn/mvcc';
import { LockOp, type TxnReply, type TxnWriteCommand } from '@cairn/wire';
import fc from 'fast-check';

import { answerOf, bytes } from '../kv/kv-rig.testing.js';
import { checkOf, commitOf, prewriteOf, replyOf, TxnRig } from '../kv/txn/txn-rig.testing.js';
import { GarbageLooks, type LookPlace } from './garbage-looks.js';

/*
 * Goal: no transaction is decided twice, and none is half carried out, however late its commands and
 * questions about it come, and however much of what was decided was collected meanwhile (T9, T15). Method:
 * transactions with a primary in one range and another key in a second one; steps of theirs are repeated at
 * any time, by coordinators and by who meets locks, while leaders change to nodes that were told less,
 * proposals are lost, and garbage is collected by the rules of the cluster. What the engines hold is compared
 * with what was told.
 */

const RANGES = [0, 1] as const;
const PRIMARY = 0;
const OTHER = 1;
const KEYS = ['x', 'y'] as const;

/** What happens to the entry of a command: it commits here, under the next leader, or never. */
type Fate = 'commits' | 'hands-over' | 'is-lost';
type Step =
  | { readonly type: 'begin'; readonly primary: string; readonly other: string; readonly holds: boolean }
  | {
      readonly type: 'prewrite' | 'commit' | 'rollBack' | 'check';
      readonly of: number;
      readonly range: 0 | 1;
      readonly fate: Fate;
    }
  | { readonly type: 'meet'; readonly range: 0 | 1 }
  | { readonly type: 'ask' | 'carryOut'; readonly of: number; readonly fate: Fate }
  | { readonly type: 'collect'; readonly range: 0 | 1; readonly fate: Fate }
  | { readonly type: 'fail'; readonly range: 0 | 1 }
  | { readonly type: 'tell'; readonly range: 0 | 1; readonly node: 0 | 1 }
  | { readonly type: 'advance' | 'hear' | 'look' | 'wait' | 'whole' | 'sweep' };

const range = fc.constantFrom(...RANGES);
const fate = fc.constantFrom<Fate>('commits', 'commits', 'commits', 'commits', 'hands-over', 'is-lost');
const of = fc.constantFrom(0, 0, 0, 1, 1, 2, 3);
const just = <T extends string>(...types: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...types);
const key = fc.constantFrom(...KEYS);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: just('begin'), primary: key, other: key, holds: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ type: just('prewrite'), of, range, fate }) },
  {
    weight: 5,
    arbitrary: fc.record({ type: just('commit', 'commit', 'rollBack', 'check'), of, range, fate }),
  },
  { weight: 3, arbitrary: fc.record({ type: just('meet'), range }) },
  { weight: 4, arbitrary: fc.record({ type: just('ask', 'carryOut'), of, fate }) },
  { weight: 5, arbitrary: fc.record({ type: just('collect'), range, fate }) },
  { weight: 2, arbitrary: fc.record({ type: just('fail'), range }) },
  { weight: 4, arbitrary: fc.record({ type: just('tell'), range, node: fc.constantFrom(0, 1) }) },
  { weight: 10, arbitrary: fc.record({ type: just('advance', 'hear', 'look', 'wait', 'whole', 'sweep') }) },
);

interface Transaction {
  readonly start: Timestamp;
  readonly keys: readonly [string, string];
  /** The second key is locked and not written: then its lock leaves nothing behind. */
  readonly holds: boolean;
  /** Which prewrites were answered. */
  readonly prewritten: [boolean, boolean];
  /** Of all sendings of the decision. */
  commit: Timestamp | undefined;
  told: 'nothing' | 'committed' | 'aborted' | 'unknown';
}

/** What somebody met, asked and heard, at any time before. */
interface Met {
  readonly start: Timestamp;
  readonly key: string;
  readonly primary: string;
  readonly lockDeadline: number;
  heard: TxnReply | undefined;
}

class World {
  readonly rigs: readonly [TxnRig, TxnRig];
  /** By range and node: two nodes take turns in leading each range. */
  readonly #told: [number, number][] = [
    [0, 0],
    [0, 0],
  ];
  readonly #leading = [0, 0];
  #safePoint = 0;
  #lockFreeBelow = 0;
  readonly #transactions: Transaction[] = [];
  readonly #met: Met[] = [];
  /** Transactions that have left a version in a range, purged by now or not. */
  readonly #written: [Set<number>, Set<number>] = [new Set(), new Set()];
  readonly #rolledBack = new Set<number>();
  collected = 0;

  constructor(rigs: readonly [TxnRig, TxnRig]) {
    this.rigs = rigs;
  }

  static async open(): Promise<World> {
    return new World([await TxnRig.leading(), await TxnRig.leading()]);
  }

  /** There is one oracle. */
  #sync(): void {
    const next = Math.max(...this.rigs.map(({ kv }) => kv.oracle.next));
    for (const { kv } of this.rigs) kv.oracle.next = next;
  }

  issue(): Timestamp {
    this.#sync();
    const issued = this.rigs[0].issue();
    this.#sync();
    return issued;
  }

  async #fail(at: 0 | 1): Promise<void> {
    const { kv } = this.rigs[at];
    this.#sync();
    kv.replica.stepDown();
    await kv.replica.commit();
    const node = 1 - (this.#leading[at] as number);
    this.#leading[at] = node;
    kv.gcSafePoint = timestamp(this.#told[at]?.[node] ?? 0);
    await kv.restart([]);
    await kv.replica.lead();
    this.#sync();
  }

  /** The answer, if somebody heard it. */
  async #send(at: 0 | 1, command: TxnWriteCommand, how: Fate): Promise<TxnReply | string | undefined> {
    const { kv } = this.rigs[at];
    this.#sync();
    const sent = this.rigs[at].write(command);
    if (how === 'commits') await kv.run();
    else for (let turn = 0; turn < 3; turn += 1) await kv.turn();
    if (how !== 'commits' && sent.answers.length === 0) {
      if (how === 'is-lost') kv.replica.log.length = 0;
      await this.#fail(at);
    }
    this.#sync();
    const { error } = answerOf(sent);
    if (error === undefined) return replyOf(sent);
    return error.isUnclear ? undefined : error.code;
  }

  async take(next: Step): Promise<void> {
    switch (next.type) {
      case 'begin':
        this.#transactions.unshift({
          ...{ start: this.issue(), keys: [`a${next.primary}`, `b${next.other}`] },
          ...{ prewritten: [false, false], commit: undefined, told: 'nothing', holds: next.holds },
        });
        break;
      case 'prewrite':
      case 'commit':
      case 'rollBack':
      case 'check': {
        const transaction = this.#transactions[next.of];
        if (transaction !== undefined) await this.#command(transaction, next);
        break;
      }
      case 'meet':
        await this.#meet(next.range);
        break;
      case 'ask':
      case 'carryOut': {
        const met = this.#met[next.of];
        if (met !== undefined)
          await (next.type === 'ask' ? this.#ask(met, next.fate) : this.#carryOut(met, next.fate));
        break;
      }
      case 'collect':
        await this.#collect(next.range, next.fate);
        break;
      case 'fail':
        await this.#fail(next.range);
        break;
      case 'tell':
        this.#tell(next.range, next.node);
        break;
      case 'advance':
        this.#safePoint = Math.max(this.#safePoint, this.issue());
        break;
      case 'hear':
        for (const at of RANGES) for (const node of RANGES) this.#tell(at, node);
        break;
      case 'look':
        this.#look();
        break;
      case 'whole':
        await this.#whole();
        break;
      case 'sweep':
        await this.#resolveAll(2_000);
        for (const type of ['advance', 'hear', 'look'] as const) await this.take({ type });
        for (const at of RANGES) await this.#collect(at, 'commits');
        break;
      case 'wait':
        await this.#wait(2_000);
    }
    await this.check();
  }

  /** Up to the decision, with nothing in between. */
  async #whole(): Promise<void> {
    await this.take({ type: 'begin', primary: 'x', other: 'x', holds: this.issue() % 2 === 0 });
    const [transaction] = this.#transactions;
    if (transaction === undefined) return;
    for (const at of RANGES) {
      await this.#command(transaction, { type: 'prewrite', range: at, fate: 'commits' });
    }
    await this.#command(transaction, { type: 'commit', range: PRIMARY, fate: 'commits' });
  }

  #tell(at: 0 | 1, node: 0 | 1): void {
    const told = this.#told[at] as [number, number];
    told[node] = this.#safePoint;
    if (this.#leading[at] === node) this.rigs[at].kv.gcSafePoint = timestamp(this.#safePoint);
  }

  /** As the metadata service does: what all nodes have heard, and no lock below. */
  #look(): void {
    const locks = this.rigs.map(({ kv }) => kv.machine.oldestLockStart ?? Infinity);
    this.#lockFreeBelow = Math.max(
      this.#lockFreeBelow,
      Math.min(this.#safePoint, ...this.#told.flat(), ...locks),
    );
  }

  async #command(
    transaction: Transaction,
    { type, range: at, fate: how }: { readonly type: string; readonly range: 0 | 1; readonly fate: Fate },
  ): Promise<void> {
    const { keys, prewritten, start } = transaction;
    const [primary] = keys;
    if (type === 'prewrite') {
      const reply = await this.#send(at, prewriteAt(transaction, at), how);
      if (typeof reply === 'object' && reply.type === 'prewritten') prewritten[at] = true;
      return;
    }
    if (type === 'check') {
      await this.#ask({ start, key: keys[at], primary, lockDeadline: 0, heard: undefined }, how);
      return;
    }
    // What a coordinator has given up it only rolls back; what it may have committed it does not.
    if (type === 'rollBack') {
      if (transaction.commit !== undefined && transaction.told !== 'aborted') return;
      transaction.told = 'aborted';
      const command = { type: 'resolve', start, commit: timestamp(0), keys: [bytes(keys[at])] } as const;
      const reply = await this.#send(at, command, how);
      expect(typeof reply === 'object' && reply.type).not.toBe('committed');
      return;
    }
    await this.#commit(transaction, how);
  }

  async #commit(transaction: Transaction, how: Fate): Promise<void> {
    const { keys, prewritten, start } = transaction;
    const isFirst = transaction.commit === undefined;
    if (!prewritten[0] || !prewritten[1] || (isFirst && transaction.told !== 'nothing')) return;
    transaction.commit ??= this.issue();
    const reply = await this.#send(PRIMARY, commitOf(start, transaction.commit, keys[0]), how);
    if (reply === undefined || reply === 'OUTCOME_UNKNOWN') {
      if (transaction.told === 'nothing') transaction.told = 'unknown';
      return;
    }
    if (typeof reply === 'string') throw new Error(reply);
    if (reply.type === 'committed') {
      expect(transaction.told).not.toBe('aborted');
      transaction.told = 'committed';
    } else {
      // A later timestamp is not tried here.
      expect(transaction.told).not.toBe('committed');
      if (reply.type !== 'pushed') transaction.told = 'aborted';
      else if (transaction.told === 'nothing') transaction.told = 'unknown';
    }
  }

  async #meet(at: 0 | 1): Promise<void> {
    const { engine } = this.rigs[at].kv;
    const rows = await engine.iterate(rowSpanIn(Namespace.locks, bytes(''), bytes(''))).next(10);
    for (const [, record] of rows) {
      const start = startOfRecord(record);
      const transaction = this.#transactions.find((each) => each.start === start);
      if (transaction === undefined) throw new Error('a lock of nobody');
      const [primary] = transaction.keys;
      const lockDeadline = decodeLockRow(record).deadline;
      this.#met.unshift({ start, key: transaction.keys[at], primary, lockDeadline, heard: undefined });
    }
    this.#met.length = Math.min(this.#met.length, 4);
  }

  async #ask(met: Met, how: Fate): Promise<void> {
    const command = checkOf(met.start, met.primary, { lockDeadline: met.lockDeadline });
    const reply = await this.#send(PRIMARY, command, how);
    if (typeof reply !== 'object') return;
    met.heard = reply;
    if (reply.type === 'committed') expect(this.#written[PRIMARY].has(met.start)).toBe(true);
    // Of what was collected one may hear anything, as nobody has a lock of it.
    if (reply.type === 'rolledBack' && (await this.#isLocked(met.start))) this.#rolledBack.add(met.start);
  }

  async #isLocked(start: Timestamp): Promise<boolean> {
    for (const { kv } of this.rigs) {
      const rows = await kv.engine.iterate(rowSpanIn(Namespace.locks, bytes(''), bytes(''))).next(10);
      if (rows.some(([, record]) => startOfRecord(record) === start)) return true;
    }
    return false;
  }

  async #carryOut({ heard, key: name, primary, start }: Met, how: Fate): Promise<void> {
    if (heard?.type !== 'committed' && heard?.type !== 'rolledBack') return;
    const commit = heard.type === 'committed' ? heard.commit : timestamp(0);
    if (name === primary) return;
    await this.#send(OTHER, { type: 'resolve', start, commit, keys: [bytes(name)] }, how);
  }

  /** A pass of the collector, page by page; the first page's entry may be lost with the leadership. */
  async #collect(at: 0 | 1, how: Fate): Promise<void> {
    const { kv } = this.rigs[at];
    this.#sync();
    const wanted = this.#told[at]?.[this.#leading[at] as number] ?? 0;
    const safePoint = timestamp(Math.min(wanted, (kv.machine.oldestLockStart ?? Infinity) - 1));
    if (safePoint === 0) return;
    const below = timestamp(Math.min(safePoint, this.#lockFreeBelow));
    const { descriptor } = kv.machine;
    const looks = new GarbageLooks(
      kv.engine,
      { descriptor, safePoint, records: { below, ripeBelow: timestamp(wanted) } },
      2,
    );
    let place: LookPlace | undefined = looks.first;
    while (place !== undefined) {
      const { keys, next } = await looks.look(place);
      place = next;
      if (keys.length === 0) continue;
      const { version } = descriptor.epoch;
      const purging = kv.machine.purge({ keys, safePoint, bytes: 0, term: kv.replica.term, version });
      if (how === 'commits') {
        await kv.run();
        expect(await purging).toBe('logged');
        if (keys[0]?.[0] === Namespace.transactions) this.collected += keys.length;
        continue;
      }
      if (how === 'is-lost') kv.replica.log.length = 0;
      await this.#fail(at);
      await purging;
      return;
    }
  }

  /** What the engines hold agrees with what was told. */
  async check(): Promise<void> {
    for (const at of RANGES) {
      const { engine } = this.rigs[at].kv;
      const rows = await engine.iterate(rowSpanIn(Namespace.versions, bytes(''), bytes(''))).next(1_000);
      for (const [, record] of rows) this.#written[at].add(startOfRecord(record));
    }
    for (const start of this.#written[OTHER]) expect(this.#written[PRIMARY]).toContain(start);
    for (const start of this.#rolledBack) expect(this.#written[PRIMARY]).not.toContain(start);
    for (const { holds, start, told } of this.#transactions) {
      if (told === 'aborted') expect(this.#written[PRIMARY]).not.toContain(start);
      if (told === 'committed') expect(this.#written[PRIMARY]).toContain(start);
      // All of it, once its lock is gone.
      if (holds || !this.#written[PRIMARY].has(start) || (await this.#isLocked(start))) continue;
      expect(this.#written[OTHER]).toContain(start);
    }
  }

  async #wait(ms: number): Promise<void> {
    for (const { kv } of this.rigs) kv.oracle.next += ms * TIMESTAMP_LOGICAL_STEPS;
    for (const { kv } of this.rigs) await kv.clock.advance(ms);
  }

  async #resolveAll(waitMs: number): Promise<void> {
    await this.#wait(waitMs);
    for (const at of [OTHER, PRIMARY] as const) {
      await this.#meet(at);
      for (const met of this.#met) {
        await this.#ask(met, 'commits');
        await this.#carryOut(met, 'commits');
        await this.check();
      }
    }
  }

  /** Whoever meets what is left resolves it. */
  async end(): Promise<void> {
    await this.#resolveAll(10_000);
    expect(this.rigs[OTHER].kv.machine.oldestLockStart).toBeUndefined();
  }
}

function prewriteAt({ holds, keys, start }: Transaction, at: 0 | 1): TxnWriteCommand {
  const command = prewriteOf(start, { [keys[at]]: String(start) }, keys[0]);
  if (at === PRIMARY || !holds || command.type !== 'prewrite') return command;
  return {
    ...command,
    mutations: command.mutations.map((each) => ({ ...each, op: LockOp.none, value: bytes('') })),
  };
}

describe('decisions of transactions', () => {
  it('are taken once, whatever was collected, and carried out whole', async () => {
    let collected = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 90, size: 'max' }), async (steps) => {
        const world = await World.open();
        for (const next of steps) await world.take(next);
        await world.end();
        collected += world.collected;
      }),
      { numRuns: 200 },
    );

    expect(collected).toBeGreaterThan(200);
  }, 120_000);
});
