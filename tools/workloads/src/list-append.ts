import {
  checkListAppend,
  isForbidden,
  type IsolationLevel,
  type ListOp,
  type Transaction,
} from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { LoadClient, LoadIsolation, LoadOperation, LoadTransaction } from './load-client.js';
import type { Fault, Load, LoadOptions } from './load.js';
import { processAfter, recordedOutcome, returnOf } from './recorded.js';

/** Lists in use at a time, each in a range of its own where ranges are cut. */
const SLOTS = 4;
/** A list is left for a new one after so many appends: values stay small. */
const APPENDS_PER_KEY = 40;
const OPS_MAX = 4;
const FORBIDS_FOR: Readonly<Record<LoadIsolation, IsolationLevel>> = {
  serializable: 'strict-serializable',
  snapshot: 'snapshot-isolation',
};

/** What one transaction is to do. */
interface Step {
  readonly f: 'append' | 'r';
  readonly key: string;
  readonly value: number;
}

function listOf(text: string | undefined): number[] {
  return text === undefined ? [] : (JSON.parse(text) as number[]);
}

/**
 * Transactions that append to lists and read them, over few keys: what reads show gives the order of all, and
 * nothing hides. An append reads the list and puts it with one element more; some are made on the
 * condition that the list is what was seen, in one call; snapshots are transactions that read.
 */
export class ListAppendLoad implements Load {
  readonly name = 'list-append';
  readonly splitKeys = Array.from({ length: SLOTS }, (_, at) => `w/list/${at}/`);
  readonly transactions: Transaction[] = [];
  readonly #isolation: LoadIsolation;
  readonly #keys = Array.from({ length: SLOTS }, (_, at) => [keyOf(at, 0)]);
  readonly #appends = new Map<string, number>();
  #elements = 0;

  constructor({ isolation = 'serializable' }: LoadOptions = {}) {
    this.#isolation = isolation;
  }

  async layOut(_client: LoadClient): Promise<void> {
    // A list that nobody has written is empty.
  }

  async step(caller: Caller): Promise<void> {
    const dice = caller.rng.integer(100);
    if (dice < 60) return this.#transact(caller);
    if (dice < 78) return this.#execute(caller);
    const keys = this.#someKeys(caller);
    if (dice < 84) return this.#readOne(caller, keys[0] as string);
    await this.#readSnapshot(caller, keys);
  }

  #someKeys({ rng }: Caller): string[] {
    const keys = this.#keys.map((all) => all.at(-1) as string);
    const first = rng.integer(keys.length);
    return [...keys.slice(first), ...keys.slice(0, first)].slice(0, 1 + rng.integer(keys.length));
  }

  #element(key: string): number {
    const count = (this.#appends.get(key) ?? 0) + 1;
    this.#appends.set(key, count);
    const slot = this.#keys.find((all) => all.at(-1) === key);
    if (slot !== undefined && count >= APPENDS_PER_KEY)
      slot.push(keyOf(this.#keys.indexOf(slot), slot.length));
    this.#elements += 1;
    return this.#elements;
  }

  #steps(caller: Caller): Step[] {
    const keys = this.#someKeys(caller);
    return Array.from({ length: 1 + caller.rng.integer(OPS_MAX) }, () => {
      const key = caller.rng.pick(keys);
      return caller.rng.chance(0.5)
        ? { f: 'append', key, value: this.#element(key) }
        : { f: 'r', key, value: 0 };
    });
  }

  async #transact(caller: Caller): Promise<void> {
    const steps = this.#steps(caller);
    const outcome = await caller.attempt('transaction', () =>
      caller.client.transaction(this.#isolation, (tx) => carryOut(tx, steps)),
    );
    this.#record(caller, outcome, outcome.type === 'ok' ? outcome.value.value : unread(steps));
  }

  /** An append on the condition that the list is what was seen, with reads of others, or else reads alone. */
  async #execute(caller: Caller): Promise<void> {
    const [key = '', ...others] = this.#someKeys(caller);
    const seen = await caller.read(() => caller.client.get(key));
    if (seen.type !== 'ok') return;
    const element = this.#element(key);
    const gets = [key, ...others].map((each): LoadOperation => ({ f: 'get', key: each }));
    const after = JSON.stringify([...listOf(seen.value), element]);
    const outcome = await caller.attempt('transaction', () =>
      caller.client.execute({
        conditions: [{ key, value: seen.value }],
        then: [{ f: 'put', key, value: after }, ...gets],
        otherwise: gets,
      }),
    );
    const append: ListOp = { f: 'append', key, value: element };
    const reads = (results: readonly (string | undefined)[] | undefined): ListOp[] =>
      gets.map(({ key: each }, at) => readOf(each, results === undefined ? undefined : listOf(results[at])));
    if (outcome.type === 'ok' && !outcome.value.succeeded) {
      this.#record(caller, outcome, reads(outcome.value.results));
      return;
    }
    // That the condition held was a read, too.
    const before = readOf(key, outcome.type === 'ok' ? listOf(seen.value) : undefined);
    const found = outcome.type === 'ok' ? outcome.value.results?.slice(1) : undefined;
    this.#record(caller, outcome, [before, append, ...reads(found)]);
  }

  /** As a transaction: a plain read is linearizable, and in no order with what others do to other keys. */
  async #readOne(caller: Caller, key: string): Promise<void> {
    const outcome = await caller.read(() => caller.client.transaction(this.#isolation, (tx) => tx.get(key)));
    if (outcome.type === 'ok') this.#record(caller, outcome, [readOf(key, listOf(outcome.value.value))]);
  }

  async #readSnapshot(caller: Caller, keys: readonly string[]): Promise<boolean> {
    const outcome = await caller.read(() => caller.client.snapshot(keys));
    if (outcome.type !== 'ok') return false;
    const { rows } = outcome.value;
    this.#record(
      caller,
      outcome,
      keys.map((key) => readOf(key, listOf(rows.get(key)))),
    );
    return true;
  }

  #record(caller: Caller, outcome: Outcome<unknown>, ops: readonly ListOp[]): void {
    this.transactions.push({
      process: caller.process,
      outcome: recordedOutcome(outcome),
      ops,
      invokedMs: outcome.invokedMs,
      returnedMs: returnOf(outcome),
    });
    processAfter(caller, outcome);
  }

  async finalReads(caller: Caller): Promise<readonly string[]> {
    const failed: string[] = [];
    for (const keys of this.#keys) if (!(await this.#readSnapshot(caller, keys))) failed.push(...keys);
    return failed;
  }

  /**
   * As `npm run check -- list-append` reads it. Each transaction is a process of its own there, so that
   * of two that touch in time neither has to end before the other begins; `client` says whose it was.
   */
  lines(): string[] {
    const events = this.transactions.flatMap((transaction, process) => {
      const { process: client, outcome, ops, invokedMs, returnedMs } = transaction;
      const line = (type: string, isRead: boolean): string =>
        JSON.stringify({ process, type, txn: ops.map((op) => tripleOf(op, isRead)), client });
      const invoked = { atMs: invokedMs, order: 0, text: line('invoke', false) };
      if (outcome === 'info') return [invoked];
      return [invoked, { atMs: returnedMs, order: 1, text: line(outcome, true) }];
    });
    return events.sort((a, b) => a.atMs - b.atMs || a.order - b.order).map(({ text }) => text);
  }

  judge(): readonly Fault[] {
    const level = FORBIDS_FOR[this.#isolation];
    return checkListAppend(this.transactions)
      .anomalies.filter((anomaly) => isForbidden(anomaly, level))
      .map(({ name, also, explanation }) => ({ name: [name, ...also].join(', '), message: explanation }));
  }
}

function keyOf(slot: number, number: number): string {
  return `w/list/${slot}/${number}`;
}

function readOf(key: string, value: readonly number[] | undefined): ListOp {
  return { f: 'r', key, value };
}

/** What is known of a transaction that nobody answered. Its appends read, too. */
function unread(steps: readonly Step[]): ListOp[] {
  return steps.flatMap(({ f, key, value }): ListOp[] =>
    f === 'r' ? [readOf(key, undefined)] : [readOf(key, undefined), { f, key, value }],
  );
}

async function carryOut(tx: LoadTransaction, steps: readonly Step[]): Promise<ListOp[]> {
  const ops: ListOp[] = [];
  for (const { f, key, value } of steps) {
    const list = listOf(await tx.get(key));
    ops.push(readOf(key, list));
    if (f === 'r') continue;
    tx.put(key, JSON.stringify([...list, value]));
    ops.push({ f, key, value });
  }
  return ops;
}

function tripleOf(op: ListOp, isRead: boolean): readonly [string, unknown, unknown] {
  if (op.f === 'append') return ['append', op.key, op.value];
  return ['r', op.key, isRead ? (op.value ?? null) : null];
}
