import { describe, expect, test } from '@jest/globals';
import { preload, runClosedLoop, type LoadData, type LoadTarget } from './closed-loop.js';
import { VirtualTime } from '../test/virtual-time.js';
import { keyAt, makeKeys } from './data-set.js';
import type { RunRequest, RunResult } from './load-messages.js';

const KEYS = 50;
const DATA: LoadData = { keys: makeKeys(KEYS), end: keyAt(KEYS), valueBytes: 64, inserted: { count: 0 } };

/** How long an operation takes. */
const OPERATION_MS = 2;

/** Answers after a while and remembers what was asked. */
class RecordingTarget implements LoadTarget {
  readonly time = new VirtualTime();
  readonly rows = new Map<string, string>();
  readonly valuesSeen = new Set<string>();
  puts = 0;
  gets = 0;
  stale = 0;
  open = 0;
  openMax = 0;
  failing = false;
  scanned: number | undefined;

  async put(_slot: number, key: Buffer, value: Buffer): Promise<void> {
    const before = value.toString('hex');
    await this.#turn();
    // A value must not change while its put is open.
    expect(value.toString('hex')).toBe(before);
    this.puts += 1;
    this.valuesSeen.add(before);
    this.rows.set(key.toString(), before);
  }

  async get(_slot: number, key: Buffer, isStale: boolean): Promise<string | undefined> {
    await this.#turn();
    this.gets += 1;
    if (isStale) this.stale += 1;
    return this.rows.get(key.toString());
  }

  async scan(start: Buffer, end: Buffer): Promise<number> {
    await this.#turn();
    const keys = [...this.rows.keys()];
    return this.scanned ?? keys.filter((key) => key >= start.toString() && key < end.toString()).length;
  }

  close(): void {
    this.rows.clear();
  }

  async #turn(): Promise<void> {
    this.open += 1;
    this.openMax = Math.max(this.openMax, this.open);
    await this.time.sleep(OPERATION_MS);
    this.open -= 1;
    if (this.failing) throw new Error('refused');
  }
}

function request(more: Partial<RunRequest> = {}): RunRequest {
  const base = { kind: 'run', work: 'put', outstanding: 8, warmupMs: 10, durationMs: 60 } as const;
  return { ...base, seed: 1, processIds: [], ...more };
}

function load(target: RecordingTarget, outstanding: number): Promise<void> {
  return target.time.during(preload(target, DATA, outstanding));
}

function drive(target: RecordingTarget, more: Partial<RunRequest> = {}): Promise<RunResult> {
  return target.time.during(runClosedLoop(target, DATA, request(more), target.time));
}

describe('the loading of a data set', () => {
  test('writes every key once, with values that differ', async () => {
    const target = new RecordingTarget();
    await load(target, 7);
    expect(target.puts).toBe(KEYS);
    expect([...target.rows.keys()].sort()).toEqual(
      Array.from({ length: KEYS }, (_, at) => String(DATA.keys.at(at))),
    );
    expect(target.valuesSeen.size).toBe(KEYS);
    expect(target.openMax).toBe(7);
  });

  test('fails with the first error', async () => {
    const target = new RecordingTarget();
    target.failing = true;
    await expect(load(target, 2)).rejects.toThrow('refused');
  });
});

describe('a closed loop', () => {
  test('keeps so many operations open, none afterwards, and counts those of the window', async () => {
    const target = new RecordingTarget();
    const result = await drive(target);
    expect([target.openMax, target.open]).toEqual([8, 0]);
    // The window is 60 ms long; what began in it and ended behind it does not count.
    expect(result.operations).toBeGreaterThanOrEqual(8 * (60 / OPERATION_MS - 1));
    expect(result.operations).toBeLessThanOrEqual(8 * (60 / OPERATION_MS));
    expect(target.puts).toBeGreaterThanOrEqual(8 * (70 / OPERATION_MS));
    expect(result.elapsedMs).toBe(60);
    expect(result.p50Ms).toBeCloseTo(OPERATION_MS, 1);
    expect(result.p999Ms).toBeCloseTo(OPERATION_MS, 1);
    expect(result).toMatchObject({ errors: 0, firstError: '', misses: 0 });
  });

  test('of gets only reads, and says so of stale ones', async () => {
    const target = new RecordingTarget();
    await load(target, 8);
    const result = await drive(target, { work: 'get' });
    expect([target.puts, target.stale, result.misses]).toEqual([KEYS, 0, 0]);
    const before = target.gets;
    await drive(target, { work: 'stale' });
    expect(target.stale).toBe(target.gets - before);
  });

  test('of a mix reads nine times of ten', async () => {
    const target = new RecordingTarget();
    await drive(target, { work: 'mix', outstanding: 64, durationMs: 150 });
    const share = target.gets / (target.gets + target.puts);
    expect(share).toBeGreaterThan(0.88);
    expect(share).toBeLessThan(0.92);
  });

  test('counts reads that find nothing', async () => {
    const result = await drive(new RecordingTarget(), { work: 'get' });
    expect(result.misses).toBe(result.operations);
  });

  test('counts failures, keeps the first message, rests and goes on', async () => {
    const target = new RecordingTarget();
    target.failing = true;
    const result = await drive(target, { outstanding: 2 });
    expect(result).toMatchObject({ operations: 0, firstError: 'refused', p99Ms: 0 });
    // 2 ms for the operation, 10 for the rest: both slots fail at 2, 14, 26, ... of 70 ms.
    expect(result.errors).toBe(2 * 6);
  });

  test('of scans counts rows', async () => {
    const target = new RecordingTarget();
    await load(target, 8);
    const result = await drive(target, { work: 'scan' });
    expect(result.operations).toBe(KEYS * (60 / OPERATION_MS));
    expect(result.elapsedMs).toBe(60);
    expect(target.openMax).toBe(8);
  });

  test('counts the last scan whole', async () => {
    const target = new RecordingTarget();
    await load(target, 8);
    const result = await drive(target, { work: 'scan', durationMs: 5 });
    expect([result.operations, result.elapsedMs]).toEqual([KEYS * 3, 6]);
  });

  test('fails with a scan that does not return every row', async () => {
    const target = new RecordingTarget();
    target.scanned = KEYS - 1;
    await expect(drive(target, { work: 'scan' })).rejects.toThrow('a scan of 50 rows returned 49');
  });
});
