import { describe, expect, it } from '@jest/globals';
import { crc32 } from '@cairn/codec';
import { noopLogger } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';

// Files that somebody exchanged or made: every checksum is right, and what they say is not.

const EVERYTHING = { start: Buffer.alloc(0), end: Buffer.alloc(7, 0xff) };
const FOOTER_BYTES = 48;
const ROWS = 40;

function openOn(medium: SimDisk, directory = 1): Promise<LsmEngine> {
  const disk = medium.attach();
  const { nowMs, unixMs, setTimer } = new SimScheduler().clockFor('engine');
  return LsmEngine.open({
    path: '/engine',
    disk,
    clock: { nowMs, unixMs, setTimer, defer: (callback) => void setImmediate(callback) },
    logger: noopLogger,
    rng: new SimRng(directory),
    runner: new InlineJobs(disk),
    blockBytes: 256,
  });
}

const keyOf = (name: string, at: number): Buffer => Buffer.from(`${name}-${String(at).padStart(4, '0')}`);

/** A directory that has a table for each of the names, all of the same size. */
async function directoryOf(names: readonly string[], directory = 1): Promise<SimDisk> {
  const medium = new SimDisk(new SimRng(1));
  const engine = await openOn(medium, directory);
  for (const name of names) {
    const batch = engine.newBatch();
    for (let at = 0; at < ROWS; at += 1) batch.put(keyOf(name, at), Buffer.from(`=${at}`));
    await engine.write(batch);
    await engine.flush();
  }
  await engine.close();
  return medium;
}

const tablesOf = (medium: SimDisk): string[] => medium.paths().filter((path) => path.endsWith('.lsm'));
const bytesOf = (medium: SimDisk, path: string): Buffer => Buffer.from(medium.peek(path) ?? []);

async function replace(medium: SimDisk, path: string, bytes: Buffer): Promise<void> {
  const file = await medium.attach().open(path, { mode: 'write' });
  await file.truncate(0);
  await file.write([bytes], 0);
  await file.sync();
  await file.close();
}

function seal(bytes: Buffer): void {
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
}

async function walk(engine: LsmEngine): Promise<number> {
  const iterator = engine.iterate(EVERYTHING);
  let rows = 0;
  try {
    for (;;) {
      const page = await iterator.next(100);
      if (page.length === 0) return rows;
      rows += page.length;
    }
  } finally {
    await iterator.close();
  }
}

const damage = (path: string, message: string): unknown =>
  expect.objectContaining({
    code: 'CORRUPTION',
    details: { path },
    message: expect.stringContaining(message),
  });

describe('tables of equal size', () => {
  it('that were exchanged are noticed when the directory is opened', async () => {
    const medium = await directoryOf(['aaa', 'bbb']);
    const [one = '', other = ''] = tablesOf(medium);
    const [oneBytes, otherBytes] = [bytesOf(medium, one), bytesOf(medium, other)];
    expect(oneBytes.length).toBe(otherBytes.length);
    await replace(medium, one, otherBytes);
    await expect(openOn(medium)).rejects.toEqual(damage(one, 'it is table '));
    await replace(medium, other, oneBytes);
    // The newest run is opened first.
    await expect(openOn(medium)).rejects.toEqual(damage(other, 'it is table '));
    await replace(medium, one, oneBytes);
    await replace(medium, other, otherBytes);
    expect(await walk(await openOn(medium))).toBe(2 * ROWS);
  });

  it('and number of another directory are noticed, too', async () => {
    const medium = await directoryOf(['aaa'], 1);
    const foreign = await directoryOf(['bbb'], 2);
    const [path = ''] = tablesOf(medium);
    expect(tablesOf(foreign)).toEqual([path]);
    const bytes = bytesOf(foreign, path);
    expect(bytes.length).toBe(medium.peek(path)?.length);
    await replace(medium, path, bytes);
    await expect(openOn(medium)).rejects.toEqual(damage(path, 'another directory'));
  });

  it('are noticed by the job that is to merge them', async () => {
    const medium = await directoryOf(['aaa', 'aab']);
    const engine = await openOn(medium);
    const [one = '', other = ''] = tablesOf(medium);
    await replace(medium, one, bytesOf(medium, other));
    await expect(engine.compact(EVERYTHING.start, EVERYTHING.end)).rejects.toEqual(
      damage(one, 'it is table '),
    );
  });
});

describe('a copy of the manifest', () => {
  it('of another directory is not taken for the other copy of this one', async () => {
    const medium = await directoryOf(['aaa'], 1);
    const foreign = await directoryOf(['aaa'], 2);
    await replace(medium, '/engine/manifest-b', bytesOf(foreign, '/engine/manifest-b'));
    await expect(openOn(medium)).rejects.toEqual(
      expect.objectContaining({ code: 'CORRUPTION', message: expect.stringContaining('two directories') }),
    );
  });
});

describe('a forged footer', () => {
  type Forgery = (footer: Buffer) => void;
  const add = (at: number, value: number) => (footer: Buffer) => {
    footer.writeUInt32LE(footer.readUInt32LE(at) + value, at);
  };
  const set = (at: number, value: number) => (footer: Buffer) => void footer.writeUInt32LE(value, at);
  const forgeries: Record<string, Forgery> = {
    'no block': (footer) => {
      add(24, footer.readUInt32LE(20) * 8)(footer);
      set(20, 0)(footer);
    },
    'no filter': (footer) => {
      add(24, footer.readUInt32LE(16) * 4)(footer);
      set(16, 0)(footer);
    },
    'half a filter': (footer) => {
      add(16, -8)(footer);
      add(24, 32)(footer);
    },
    'a filter of 16 GiB': set(16, 0xffff_ffff),
    'four thousand million blocks': set(20, 0xffff_ffff),
    'separators of 2 GiB': set(24, 0x7fff_ffff),
    'one byte less of separators': add(24, -1),
    'an index behind the end': (footer) => void footer.writeUIntLE(0xffff_ffff_ffff, 8, 6),
    'an index before its place': add(8, -1),
  };

  it.each(Object.keys(forgeries))('with %s is damage that names the file', async (name) => {
    const medium = await directoryOf(['aaa']);
    const [path = ''] = tablesOf(medium);
    const bytes = bytesOf(medium, path);
    const footer = bytes.subarray(-FOOTER_BYTES);
    (forgeries[name] as Forgery)(footer);
    seal(footer);
    await replace(medium, path, bytes);
    await expect(openOn(medium)).rejects.toEqual(damage(path, 'its footer'));
  });
});

describe('a forged index', () => {
  interface Index {
    readonly positions: (block: number, position?: number) => number;
    readonly ends: (block: number, end?: number) => number;
    readonly blocks: number;
  }
  type Forgery = (index: Index) => void;
  const forgeries: Record<string, Forgery> = {
    'blocks that go backwards': ({ positions }) => positions(3, 5),
    'an empty block': ({ positions }) => positions(3, positions(2)),
    'a block behind the end': ({ positions }) => positions(3, 0xffff_fff0),
    'a first block that is not at the beginning': ({ positions }) => positions(0, 1),
    'a last block that does not end where the index begins': ({ positions, blocks }) =>
      positions(blocks, positions(blocks) - 1),
    'separators behind the end': ({ ends, blocks }) => {
      for (let block = 0; block < blocks; block += 1) ends(block, 0xffff_ff00 + block);
    },
    'separators that go backwards': ({ ends }) => ends(1, 0),
    'a last separator that ends early': ({ ends, blocks }) => ends(blocks - 1, ends(blocks - 1) - 1),
  };

  it.each(Object.keys(forgeries))('with %s is damage that names the file', async (name) => {
    const medium = await directoryOf(['aaa']);
    const [path = ''] = tablesOf(medium);
    const bytes = bytesOf(medium, path);
    const footer = bytes.subarray(-FOOTER_BYTES);
    const blocks = footer.readUInt32LE(20);
    const meta = bytes.subarray(footer.readUIntLE(8, 6), -FOOTER_BYTES);
    const numbersFrom =
      (first: number) =>
      (at: number, value?: number): number => {
        if (value !== undefined) meta.writeUInt32LE(value, (first + at) * 4);
        return meta.readUInt32LE((first + at) * 4);
      };
    const words = footer.readUInt32LE(16);
    (forgeries[name] as Forgery)({
      ...{ positions: numbersFrom(words), ends: numbersFrom(words + blocks + 1), blocks },
    });
    footer.writeUInt32LE(crc32(meta), 28);
    seal(footer);
    await replace(medium, path, bytes);
    await expect(openOn(medium)).rejects.toEqual(damage(path, 'its index'));
  });
});

describe('a forged block', () => {
  it('whose rows do not lie within it is damage to every kind of read, and to a merge', async () => {
    const medium = await directoryOf(['aaa', 'aab']);
    const [path = ''] = tablesOf(medium);
    const bytes = bytesOf(medium, path);
    const footer = bytes.subarray(-FOOTER_BYTES);
    const positionsAt = footer.readUIntLE(8, 6) + footer.readUInt32LE(16) * 4;
    const block = bytes.subarray(0, bytes.readUInt32LE(positionsAt + 4));
    // The first row has a key and a value that go on for a gigabyte.
    block.fill(0xff, 0, 6);
    seal(block);
    await replace(medium, path, bytes);
    const engine = await openOn(medium);
    const refusal: unknown = expect.objectContaining({ code: 'CORRUPTION', details: { path, position: 0 } });
    for (const at of [0, 1]) {
      expect(() => engine.get(keyOf('aaa', at))).toThrow(refusal);
    }
    await expect(walk(engine)).rejects.toEqual(refusal);
    await expect(engine.compact(EVERYTHING.start, EVERYTHING.end)).rejects.toEqual(refusal);
  });
});
