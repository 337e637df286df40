import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import type { KvEngine } from '@cairn/engine';
import { InlineJobs, LsmEngine } from '@cairn/lsm';
import { VERSIONED_KEYS } from '@cairn/mvcc';
import { noopLogger } from '@cairn/ports';
import { NodeClock, NodeDisk, NodeRng } from '@cairn/runtime-node';
import { SimRng } from '@cairn/runtime-sim';
import { flipEngineByte } from './flip.js';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cairn-flip-'));
  mkdirSync(join(directory, 'engine'));
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

function open(name: string): Promise<KvEngine> {
  const path = join(directory, 'engine');
  if (name === 'classic-level') return openClassicLevelEngine({ path, logger: noopLogger });
  const disk = new NodeDisk();
  return LsmEngine.open({
    ...{ path, disk, clock: new NodeClock(), rng: new NodeRng(), logger: noopLogger },
    ...{ runner: new InlineJobs(disk), versioned: VERSIONED_KEYS },
  });
}

// Which names tables have is up to each engine: a flip that looks for others damages nothing, for ever.
describe.each(['lsm', 'classic-level'])('the flip of a byte of %s', (name) => {
  it('damages a table that the engine has written, and puts it right', async () => {
    const engine = await open(name);
    const batch = engine.newBatch();
    batch.put(Buffer.from([1, 2, 3]), Buffer.alloc(1_000, 7));
    await engine.write(batch);
    await engine.flush();
    await engine.close();
    const flip = flipEngineByte(directory, new SimRng('flip'));
    const damaged = readFileSync(flip?.path ?? '');
    expect(flip?.restore(true)).toBe(true);
    const right = readFileSync(flip?.path ?? '');
    expect(right).not.toEqual(damaged);
    const reopened = await open(name);
    expect(reopened.get(Buffer.from([1, 2, 3]))).toEqual(Buffer.alloc(1_000, 7));
    await reopened.close();
  });

  it('finds nothing to damage before there is a table', () => {
    expect(flipEngineByte(directory, new SimRng('flip'))).toBeUndefined();
  });
});
