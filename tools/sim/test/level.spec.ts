/**
 * Goal: LevelDB itself runs under the simulator, loses what a loss of power takes from it and nothing else,
 * and a seed gives the same run on it each time. Method: its real files, cut as a loss of power would; whole
 * clusters on it.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { KvEngine } from '@cairn/engine';
import { SimRng, SimScheduler, type SimProcess } from '@cairn/runtime-sim';
import { noopLogger } from '@cairn/ports';

import { EngineFaults } from '../src/engine-faults.js';
import { LevelNodeEngine } from '../src/node-engine.js';
import { runScenario } from '../src/scenario.js';

const KEYS_PER_BATCH = 3;
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

let directory: string;
let scheduler: SimScheduler;
let machine: LevelNodeEngine;
let life: SimProcess;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cairn-level-'));
  scheduler = new SimScheduler();
  machine = new LevelNodeEngine(join(directory, 'engine'), scheduler, new EngineFaults(() => Infinity));
});

afterEach(async () => {
  machine.died('process', new SimRng('end'));
  await scheduler.runFor(0);
  rmSync(directory, { recursive: true });
});

/** The engine of the next life. */
async function live(): Promise<KvEngine> {
  life = scheduler.startProcess('node');
  const rng = new SimRng('life');
  return scheduler.settle(machine.open({ process: life, logger: noopLogger, readMsMax: 0, rng }));
}

async function die(death: 'power' | 'process', seed = 'death'): Promise<void> {
  life.kill();
  machine.died(death, new SimRng(seed));
  await scheduler.runFor(0);
}

/** Puts some keys with one value in one batch. */
function put(engine: KvEngine, name: string): Promise<void> {
  const batch = engine.newBatch();
  for (let at = 0; at < KEYS_PER_BATCH; at += 1) batch.put(bytes(`${name}/${at}`), Buffer.alloc(300, name));
  return engine.write(batch) ?? Promise.resolve();
}

/** How many keys of a batch are there. */
function keysOf(engine: KvEngine, name: string): number {
  const keys = Array.from({ length: KEYS_PER_BATCH }, (_, at) => bytes(`${name}/${at}`));
  return keys.filter((key) => engine.get(key) !== undefined).length;
}

describe('LevelDB of a simulated machine', () => {
  it('keeps everything when its process dies', async () => {
    const engine = await live();
    await scheduler.settle(engine.flush());
    await scheduler.settle(put(engine, 'a'));
    await die('process');
    expect(keysOf(await live(), 'a')).toBe(KEYS_PER_BATCH);
  });

  it('loses of what was not flushed whole batches only, some of them and at times all', async () => {
    const survivors = new Set<number>();
    for (let round = 0; round < 12; round += 1) {
      const engine = await live();
      await scheduler.settle(put(engine, `flushed-${round}`));
      await scheduler.settle(engine.flush());
      const names = Array.from({ length: 8 }, (_, at) => `open-${round}-${at}`);
      await scheduler.settle(Promise.all(names.map((name) => put(engine, name))));
      await die('power', `power ${round}`);
      const after = await live();
      expect(keysOf(after, `flushed-${round}`)).toBe(KEYS_PER_BATCH);
      const counts = names.map((name) => keysOf(after, name));
      expect(counts.filter((count) => count !== 0 && count !== KEYS_PER_BATCH)).toEqual([]);
      survivors.add(counts.filter((count) => count > 0).length);
      await die('process');
    }
    expect([survivors.has(0), survivors.has(8), survivors.size > 2]).toEqual([true, true, true]);
  });

  it('does not change what was asked for and had not begun when its process died', async () => {
    const engine = await live();
    void put(engine, 'late');
    await die('process');
    expect(keysOf(await live(), 'late')).toBe(0);
  });

  it('tells of changes in the order in which they were asked for, and takes virtual time for them', async () => {
    const engine = await live();
    const startedMs = scheduler.nowMs;
    const told: string[] = [];
    const changes = [
      engine.flush().then(() => told.push('flush')),
      put(engine, 'a').then(() => told.push('write')),
      engine.deleteRange(bytes('a'), bytes('b')).then(() => told.push('delete')),
      engine.flush().then(() => told.push('flush again')),
    ];
    expect(keysOf(engine, 'a')).toBe(0);
    await scheduler.settle(Promise.all(changes));
    expect(told).toEqual(['flush', 'write', 'delete', 'flush again']);
    expect(scheduler.nowMs).toBeGreaterThan(startedMs);
    expect(keysOf(engine, 'a')).toBe(0);
  });

  it('counts the bytes of a span, flushed or not', async () => {
    const engine = await live();
    await scheduler.settle(put(engine, 'a'));
    const count = (): Promise<number> => scheduler.settle(engine.approximateBytes(bytes('a'), bytes('b')));
    expect(await count()).toBe(KEYS_PER_BATCH * (300 + 'a/0'.length));
    await scheduler.settle(engine.flush());
    expect(await count()).toBe(KEYS_PER_BATCH * (300 + 'a/0'.length));
  });
});

describe('a cluster on LevelDB', () => {
  const shape = { engine: 'classic-level', rowCacheBytes: 1024 } as const;

  it('does the same twice from one seed, and leaves no files behind', async () => {
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = directory;
    const run = (): ReturnType<typeof runScenario> =>
      runScenario({ seed: 'twice on level', durationMs: 4_000, shape });
    const [first, second] = [await run(), await run()];
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    expect([first.digest, first.events]).toEqual([second.digest, second.events]);
    expect(first.violations).toEqual([]);
    expect(readdirSync(directory)).toEqual([]);
  }, 60_000);

  it.each([['power-loss'], ['engine-error'], ['disk-full'], ['lost-directory']] as const)(
    'keeps every promise under %s',
    async (kind) => {
      const result = await runScenario({
        seed: `level-${kind}`,
        faults: [kind],
        faultEveryMs: 500,
        durationMs: 4_000,
        shape: { ...shape, shardNodes: 3, replicationFactor: 3 },
      });
      expect(result.violations).toEqual([]);
      expect(result.faults).toBeGreaterThan(0);
    },
    60_000,
  );
});
