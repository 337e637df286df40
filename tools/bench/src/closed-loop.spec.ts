import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { preload, runClosedLoop, type LoadData, type LoadTarget } from './closed-loop.js';
import { keyAt, makeKeys } from './data-set.js';
import type { RunRequest } from './load-messages.js';

const KEYS = 50;
const DATA: LoadData = { keys: makeKeys(KEYS), end: keyAt(KEYS), valueBytes: 64 };

/** Answers after a turn of the event loop and remembers what was asked. */
class RecordingTarget implements LoadTarget {
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
    await delay(1);
    this.open -= 1;
    if (this.failing) throw new Error('refused');
  }
}

function request(more: Partial<RunRequest> = {}): RunRequest {
  const base = { kind: 'run', work: 'put', outstanding: 8, warmupMs: 10, durationMs: 60 } as const;
  return { ...base, seed: 1, processIds: [], ...more };
}

describe('preload', () => {
  test('writes every key once, with values that differ', async () => {
    const target = new RecordingTarget();
    await preload(target, DATA, 7);
    expect(target.puts).toBe(KEYS);
    expect([...target.rows.keys()].sort()).toEqual(DATA.keys.map(String));
    expect(target.valuesSeen.size).toBe(KEYS);
    expect(target.openMax).toBe(7);
  });

  test('fails with the first error', async () => {
    const target = new RecordingTarget();
    target.failing = true;
    await expect(preload(target, DATA, 2)).rejects.toThrow('refused');
  });
});

describe('a closed loop', () => {
  test('keeps so many operations open, and none afterwards', async () => {
    const target = new RecordingTarget();
    const result = await runClosedLoop(target, DATA, request());
    expect(target.openMax).toBe(8);
    expect(target.open).toBe(0);
    expect(result.operations).toBeGreaterThan(0);
    // What ended before or after the window is not counted.
    expect(result.operations).toBeLessThan(target.puts);
    expect(result.elapsedMs).toBeGreaterThanOrEqual(59);
    expect(result.p50Ms).toBeGreaterThanOrEqual(0.9);
    expect(result.p999Ms).toBeGreaterThanOrEqual(result.p50Ms);
    expect(result).toMatchObject({ errors: 0, firstError: '', misses: 0 });
  });

  test('gets only read; stale ones say so', async () => {
    const target = new RecordingTarget();
    await preload(target, DATA, 8);
    const loaded = target.puts;
    const result = await runClosedLoop(target, DATA, request({ work: 'get' }));
    expect([target.puts, target.stale, result.misses]).toEqual([loaded, 0, 0]);
    await runClosedLoop(target, DATA, request({ work: 'stale' }));
    expect(target.stale).toBeGreaterThan(0);
  });

  test('a mix reads nine of ten', async () => {
    const target = new RecordingTarget();
    await runClosedLoop(target, DATA, request({ work: 'mix', outstanding: 64, durationMs: 150 }));
    const share = target.gets / (target.gets + target.puts);
    expect(target.gets + target.puts).toBeGreaterThan(400);
    expect(share).toBeGreaterThan(0.8);
    expect(share).toBeLessThan(0.98);
  });

  test('counts reads that find nothing', async () => {
    const target = new RecordingTarget();
    const result = await runClosedLoop(target, DATA, request({ work: 'get' }));
    expect(result.misses).toBeGreaterThan(0);
  });

  test('counts failures, keeps the first message, and goes on', async () => {
    const target = new RecordingTarget();
    target.failing = true;
    const result = await runClosedLoop(target, DATA, request({ outstanding: 2 }));
    expect(result).toMatchObject({ operations: 0, firstError: 'refused', p99Ms: 0 });
    // Rests after each: two slots cannot fail more often than every 10 ms.
    expect(result.errors).toBeGreaterThan(2);
    expect(result.errors).toBeLessThanOrEqual(20);
  });

  test('scans count rows', async () => {
    const target = new RecordingTarget();
    await preload(target, DATA, 8);
    const result = await runClosedLoop(target, DATA, request({ work: 'scan' }));
    expect(result.operations % KEYS).toBe(0);
    expect(result.operations).toBeGreaterThan(0);
    expect(result.elapsedMs).toBeGreaterThanOrEqual(60);
  });

  test('a scan that does not return every row fails the run', async () => {
    const target = new RecordingTarget();
    target.scanned = KEYS - 1;
    await expect(runClosedLoop(target, DATA, request({ work: 'scan' }))).rejects.toThrow(
      'a scan of 50 rows returned 49',
    );
  });
});
