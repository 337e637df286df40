import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { allNamesIn, failed, namesIn, unknown } from '../testing.js';
import type { ListOp, Name, Transaction } from '../transactions.js';

const KEYS = ['x', 'y', 'z'];

/** What a transaction is to do, and how it ends: at its turn it happens at once, as a whole. */
interface Plan {
  readonly ops: readonly { readonly f: 'a' | 'r'; readonly key: number }[];
  readonly end: 'ok' | 'fail' | 'info' | 'late';
  readonly earlyMs: number;
  readonly lateMs: number;
}

const PLAN: fc.Arbitrary<Plan> = fc.record({
  ops: fc.array(fc.record({ f: fc.constantFrom('a', 'r'), key: fc.nat(KEYS.length - 1) }), { maxLength: 5 }),
  end: fc.constantFrom('ok', 'ok', 'ok', 'ok', 'fail', 'info', 'late'),
  earlyMs: fc.nat(35),
  lateMs: fc.nat(35),
});
const PLANS = fc.array(PLAN, { minLength: 1, maxLength: 30 });

const TURN_MS = 10;

/** Runs the plans one after another; `info` has happened, `late` has an unknown outcome and has not. */
function runSerially(plans: readonly Plan[]): Transaction[] {
  const lists = new Map<string, Name[]>();
  let element = 0;
  const transactions = plans.map(({ ops, end, earlyMs, lateMs }, at): Transaction => {
    const before = new Map([...lists].map(([key, list]) => [key, [...list]]));
    const done = ops.map(({ f, key: number }): ListOp => {
      const key = KEYS[number] ?? 'x';
      const list = lists.get(key) ?? [];
      if (f === 'r') return { f, key, value: [...list] };
      element += 1;
      lists.set(key, [...list, element]);
      return { f: 'append', key, value: element };
    });
    if (end === 'fail' || end === 'late') {
      lists.clear();
      for (const [key, list] of before) lists.set(key, list);
    }
    const nowMs = TURN_MS * at;
    const times = { invokedMs: nowMs - earlyMs, returnedMs: nowMs + lateMs };
    const transaction: Transaction = { process: at, outcome: 'ok', ops: done, ...times };
    if (end === 'fail') return failed(transaction);
    return end === 'ok' ? transaction : unknown(transaction);
  });
  const ops = KEYS.map((key): ListOp => ({ f: 'r', key, value: lists.get(key) ?? [] }));
  const nowMs = TURN_MS * plans.length;
  return [
    ...transactions,
    { process: 'last', outcome: 'ok', ops, invokedMs: nowMs + 100, returnedMs: nowMs + 101 },
  ];
}

/** The history with one read changed; undefined where no read is as it must be for that. */
function withRead(
  transactions: readonly Transaction[],
  pick: number,
  change: (list: readonly Name[], reader: Transaction) => readonly Name[] | undefined,
): Transaction[] | undefined {
  const places = transactions.slice(0, -1).flatMap((transaction, at) =>
    transaction.outcome !== 'ok'
      ? []
      : transaction.ops.flatMap((op, place) => {
          const value = op.f === 'r' && op.value !== undefined ? change(op.value, transaction) : undefined;
          return value === undefined ? [] : [{ at, place, value }];
        }),
  );
  const chosen = places[pick % Math.max(1, places.length)];
  if (chosen === undefined) return undefined;
  return transactions.map((transaction, at) => ({
    ...transaction,
    ops: transaction.ops.map((op, place) =>
      at === chosen.at && place === chosen.place && op.f === 'r' ? { ...op, value: chosen.value } : op,
    ),
  }));
}

function writerOf(transactions: readonly Transaction[], element: Name | undefined): Transaction | undefined {
  return transactions.find(({ ops }) => ops.some(({ f, value }) => f === 'append' && value === element));
}

const RUNS = { seed: 16, numRuns: 400 };

describe('list-append on histories of a machine that runs one transaction after another', () => {
  it('finds nothing', () => {
    fc.assert(
      fc.property(PLANS, (plans) => {
        expect(namesIn(runSerially(plans))).toEqual([]);
      }),
      RUNS,
    );
  });

  it('finds two elements swapped, and one left out in the middle', () => {
    const swap = (list: readonly Name[]): readonly Name[] | undefined =>
      list.length < 2 ? undefined : [...list.slice(0, -2), list.at(-1) ?? 0, list.at(-2) ?? 0];
    const drop = (list: readonly Name[]): readonly Name[] | undefined =>
      list.length < 2 ? undefined : [...list.slice(0, -2), ...list.slice(-1)];
    fc.assert(
      fc.property(PLANS, fc.nat(), fc.constantFrom(swap, drop), (plans, pick, change) => {
        const broken = withRead(runSerially(plans), pick, change);
        if (broken === undefined) return;
        const names = allNamesIn(broken);
        // Where only the reader's own appends follow, the read is one that is too old.
        expect(
          (['incompatible-order', 'internal', 'G1b', 'G-single'] as const).some((name) => names.has(name)),
        ).toBe(true);
      }),
      RUNS,
    );
  });

  it('finds a read that is too old', () => {
    fc.assert(
      fc.property(PLANS, fc.nat(), (plans, pick) => {
        const transactions = runSerially(plans);
        const broken = withRead(transactions, pick, (list, reader) => {
          const writer = writerOf(transactions, list.at(-1));
          const wasBefore = writer !== undefined && writer.returnedMs < reader.invokedMs;
          return wasBefore ? list.slice(0, -1) : undefined;
        });
        if (broken === undefined) return;
        const names = [...allNamesIn(broken)];
        // One of a write skew, where the reader had written what the writer missed.
        expect(names.some((name) => /^G(1b|-single|2)/.test(name))).toBe(true);
      }),
      RUNS,
    );
  });

  it('finds an acknowledged append that nobody finds any more', () => {
    fc.assert(
      fc.property(PLANS, fc.nat(), (plans, pick) => {
        const transactions = runSerially(plans);
        const appends = transactions.flatMap(({ outcome, ops, returnedMs }) =>
          outcome !== 'ok'
            ? []
            : ops.flatMap(({ f, value }) => (f === 'append' ? [{ value, returnedMs }] : [])),
        );
        const lost = appends[pick % Math.max(1, appends.length)];
        if (lost === undefined) return;
        const broken = transactions.map((transaction) => ({
          ...transaction,
          ops: transaction.ops.map((op) =>
            op.f === 'r' && op.value !== undefined
              ? { ...op, value: op.value.filter((element) => element !== lost.value) }
              : op,
          ),
        }));
        const names = [...allNamesIn(broken)];
        expect(names.some((name) => /^(G|internal$|incompatible-order$)/.test(name))).toBe(true);
      }),
      RUNS,
    );
  });
});
