import { describe, expect, test } from '@jest/globals';
import { VirtualTime } from '../test/virtual-time.js';
import { runClosedLoop, type LoadData, type LoadTarget } from './closed-loop.js';
import { keyAt, makeKeys } from './data-set.js';
import { middleOf } from './key-places.js';
import type { LoadWork, RunRequest, RunResult } from './load-messages.js';
import type { CounterTarget, TransactionTarget } from './transaction-target.js';
import { cellsOf, COUNTER_CLIENTS, type TransactionWork } from './works.js';
import { Inserts, YCSB_MIXES } from './ycsb-steps.js';

const KEYS = 60;
const MIDDLE = middleOf(KEYS);
const OPERATION_MS = 2;

/** Answers everything after a while, and remembers which keys it was asked for. */
class TransactionalTarget implements LoadTarget, TransactionTarget {
  readonly time = new VirtualTime();
  readonly transactions = this;
  readonly rewritten: number[][] = [];
  readonly compared: number[][] = [];
  readonly snapshots: number[][] = [];
  readonly scanned: number[] = [];
  readonly puts: number[] = [];
  readonly gets: number[] = [];
  restarts = 0;
  failing = false;
  /** The first so many answers of a counter are lost after it has counted. */
  lostAdditions = 0;
  /** What a counter forgets. */
  forgotten = 0;
  counters = 0;

  async put(_slot: number, key: Buffer): Promise<void> {
    this.puts.push(indexOf(key));
    await this.#turn();
  }

  async get(_slot: number, key: Buffer): Promise<string> {
    this.gets.push(indexOf(key));
    await this.#turn();
    return 'value';
  }

  async scan(): Promise<number> {
    await this.#turn();
    return KEYS;
  }

  async rewrite(_slot: number, keys: readonly Buffer[]): Promise<number> {
    this.rewritten.push(keys.map(indexOf));
    this.restarts += 1;
    await this.#turn();
    return keys.length;
  }

  async readTogether(_slot: number, keys: readonly Buffer[]): Promise<number> {
    this.snapshots.push(keys.map(indexOf));
    await this.#turn();
    return keys.length;
  }

  async comparePut(_slot: number, keys: readonly Buffer[]): Promise<boolean> {
    this.compared.push(keys.map(indexOf));
    await this.#turn();
    return true;
  }

  async scanSome(_slot: number, _start: Buffer, limit: number): Promise<number> {
    this.scanned.push(limit);
    await this.#turn();
    return limit;
  }

  async openCounter(): Promise<CounterTarget> {
    this.counters += 1;
    let value = 0;
    return {
      restarts: 0,
      add: async () => {
        await this.#turn();
        value += 1;
        if (this.lostAdditions > 0) {
          this.lostAdditions -= 1;
          throw new Error('lost');
        }
      },
      read: async () => value - this.forgotten,
      close: () => (this.counters -= 1),
    };
  }

  close(): void {
    this.failing = true;
  }

  async #turn(): Promise<void> {
    await this.time.sleep(OPERATION_MS);
    if (this.failing) throw new Error('refused');
  }
}

function indexOf(key: Buffer): number {
  return Number(key.toString().slice(1));
}

function dataSet(): LoadData {
  return { keys: makeKeys(KEYS), end: keyAt(KEYS), valueBytes: 64, inserted: { count: 0 } };
}

function drive(
  target: LoadTarget & { readonly time: VirtualTime },
  work: LoadWork,
  more: Partial<RunRequest> = {},
  data = dataSet(),
): Promise<RunResult> {
  const base = { outstanding: 8, warmupMs: 10, durationMs: 60, seed: 1, processIds: [], ranges: [MIDDLE] };
  const request = { kind: 'run', work, ...base, ...more } as const;
  return target.time.during(runClosedLoop(target, data, request, target.time));
}

describe('works with transactions', () => {
  test.each(['txn-rmw', 'txn-one-range', 'txn-transfer', 'txn-zipf', 'snapshot-10', 'txn-compare'] as const)(
    '%s keeps so many operations open and counts those of the window',
    async (work) => {
      const result = await drive(new TransactionalTarget(), work);
      expect(result.operations).toBeGreaterThanOrEqual(8 * (60 / OPERATION_MS - 1));
      expect(result.operations).toBeLessThanOrEqual(8 * (60 / OPERATION_MS));
      expect(result).toMatchObject({ errors: 0, misses: 0, starvationMs: OPERATION_MS });
    },
  );

  test('draw keys of one range, of two, or one', async () => {
    const target = new TransactionalTarget();
    const side = (key: number): boolean => key >= MIDDLE;
    const sides = (pairs: readonly (readonly number[])[]): boolean[] =>
      pairs.map(([first = 0, second = 0]) => side(first) === side(second));
    const run = async (work: TransactionWork): Promise<number[][]> => {
      target.rewritten.length = 0;
      target.compared.length = 0;
      await drive(target, work);
      return [...target.rewritten, ...target.compared];
    };
    expect(new Set((await run('txn-rmw')).map((keys) => keys.length))).toEqual(new Set([1]));
    for (const work of ['txn-one-range', 'txn-compare'] as const) {
      expect(new Set(sides(await run(work)))).toEqual(new Set([true]));
    }
    for (const work of ['txn-transfer', 'txn-zipf', 'txn-compare-2'] as const) {
      expect(new Set(sides(await run(work)))).toEqual(new Set([false]));
    }
    await run('snapshot-10');
    expect(new Set(target.snapshots.map((keys) => keys.length))).toEqual(new Set([10]));
  });

  test('refuse to run where keys do not lie in two ranges', async () => {
    for (const work of ['txn-transfer', 'txn-zipf', 'txn-compare-2'] as const) {
      await expect(drive(new TransactionalTarget(), work, { ranges: [1] })).rejects.toThrow(
        'not different ranges',
      );
    }
  });

  test('count what ran again in the window alone', async () => {
    const target = new TransactionalTarget();
    const result = await drive(target, 'txn-rmw');
    expect(result.restarts).toBeGreaterThan(0);
    expect(result.restarts).toBeLessThan(target.rewritten.length);
  });

  test('count failures and how long nobody succeeded', async () => {
    const target = new TransactionalTarget();
    target.failing = true;
    const result = await drive(target, 'txn-rmw', { outstanding: 2 });
    expect(result).toMatchObject({ operations: 0, firstError: 'refused', errors: 2 * 6, starvationMs: 70 });
  });

  test('of a system that has only comparisons are those', async () => {
    const inner = new TransactionalTarget();
    const target = {
      time: inner.time,
      comparing: inner,
      put: () => inner.put(0, keyAt(0)),
      get: () => inner.get(0, keyAt(0)),
      scan: () => inner.scan(),
      close: () => inner.close(),
    };
    for (const work of ['txn-compare', 'txn-compare-2'] as const) {
      expect((await drive(target, work, { ranges: [] })).operations).toBeGreaterThan(0);
    }
    await expect(drive(target, 'txn-rmw')).rejects.toThrow('no transactions');
  });
});

describe('a counter', () => {
  test('is what was added', async () => {
    const target = new TransactionalTarget();
    const result = await drive(target, 'counter');
    expect(result).toMatchObject({ errors: 0, starvationMs: OPERATION_MS });
    expect(target.counters).toBe(0);
  });

  test('may have counted what failed', async () => {
    const target = new TransactionalTarget();
    target.lostAdditions = 3;
    expect((await drive(target, 'counter')).errors).toBe(3);
  });

  test('that has lost an addition fails the run', async () => {
    const target = new TransactionalTarget();
    target.forgotten = 1;
    await expect(drive(target, 'counter')).rejects.toThrow('acknowledged additions');
    expect(target.counters).toBe(0);
  });
});

describe('mixes of YCSB', () => {
  const MANY = { outstanding: 64, durationMs: 150 };

  test('do what they are made of', async () => {
    const share = async (work: 'ycsb-a' | 'ycsb-b' | 'ycsb-c' | 'ycsb-f'): Promise<number> => {
      const target = new TransactionalTarget();
      await drive(target, work, MANY);
      return target.gets.length / (target.gets.length + target.puts.length + target.rewritten.length);
    };
    expect(await share('ycsb-a')).toBeCloseTo(0.5, 1);
    expect(await share('ycsb-b')).toBeCloseTo(0.95, 1);
    expect(await share('ycsb-c')).toBe(1);
    expect(await share('ycsb-f')).toBeCloseTo(0.5, 1);
    expect(Object.values(YCSB_MIXES).every(({ firstShare }) => firstShare >= 0.5)).toBe(true);
  });

  test('D reads what was put last, and only what was acknowledged', async () => {
    const target = new TransactionalTarget();
    const data = dataSet();
    await drive(target, 'ycsb-d', MANY, data);
    expect(data.inserted.count).toBe(target.puts.length);
    expect(Math.min(...target.puts)).toBe(KEYS);
    expect(new Set(target.puts).size).toBe(target.puts.length);
    expect(Math.max(...target.gets)).toBeLessThan(KEYS + data.inserted.count);
    expect(Math.max(...target.gets)).toBeGreaterThan(KEYS);
    // The next run goes on behind what is there.
    const before = target.puts.length;
    await drive(target, 'ycsb-d', MANY, data);
    expect(Math.min(...target.puts.slice(before))).toBe(KEYS + before);
  });

  test('E scans between 1 and 100 rows', async () => {
    const target = new TransactionalTarget();
    await drive(target, 'ycsb-e', MANY);
    expect(Math.min(...target.scanned)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...target.scanned)).toBeLessThanOrEqual(100);
    expect(target.scanned.length / (target.scanned.length + target.puts.length)).toBeGreaterThan(0.9);
  });
});

describe('numbers of new keys', () => {
  test('may be read when all before them are there, and come again when they failed', () => {
    const known = { count: 5 };
    const inserts = new Inserts(known);
    const [first, second, third] = [inserts.take(), inserts.take(), inserts.take()];
    expect([first, second, third]).toEqual([5, 6, 7]);
    inserts.done(third);
    inserts.giveBack(first);
    inserts.done(second);
    expect(known.count).toBe(5);
    expect(inserts.take()).toBe(first);
    inserts.done(first);
    expect(known.count).toBe(8);
    expect(inserts.take()).toBe(8);
  });
});

describe('the cells of works with transactions', () => {
  test('have before them what they are compared with', () => {
    expect(cellsOf(['txn-zipf'], [64])).toEqual([
      { work: 'put', outstanding: 64 },
      { work: 'get', outstanding: 64 },
      { work: 'txn-transfer', outstanding: 64 },
      { work: 'txn-zipf', outstanding: 64 },
    ]);
    expect(cellsOf(['put', 'counter'], [1])).toEqual([
      { work: 'put', outstanding: COUNTER_CLIENTS },
      { work: 'get', outstanding: COUNTER_CLIENTS },
      { work: 'put', outstanding: 1 },
      { work: 'counter', outstanding: COUNTER_CLIENTS },
    ]);
  });
});
