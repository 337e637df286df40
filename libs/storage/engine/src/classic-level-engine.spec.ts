import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { noopLogger } from '@cairn/ports';
import { openClassicLevelEngine, type ClassicLevelEngine } from './classic-level.js';
import { NativeLevel, mapNativeError } from './native-level.js';
import { describeKvEngine } from './testing.js';
import type { KvEngine } from './types.js';

const PIECE_BYTES = 256 * 1024;
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const root = mkdtempSync(join(tmpdir(), 'cairn-engine-'));
let directories = 0;
const freshPath = (): string => join(root, String((directories += 1)));
const open = (path: string): Promise<ClassicLevelEngine> =>
  openClassicLevelEngine({
    path,
    logger: noopLogger,
    writeBufferBytes: 4 << 20,
    blockCacheBytes: 8 << 20,
    compactionPieceBytes: PIECE_BYTES,
  });

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

let suitePath = '';
let suiteEngine: KvEngine | undefined;
const openForSuite = async (): Promise<KvEngine> => (suiteEngine = await open(suitePath));

describeKvEngine('ClassicLevelEngine', {
  open: () => {
    suitePath = freshPath();
    return openForSuite();
  },
  reopen: openForSuite,
  // What the system has of the files when the process is killed.
  crash: async () => {
    const left = freshPath();
    cpSync(suitePath, left, { recursive: true });
    await suiteEngine?.close();
    suitePath = left;
    return openForSuite();
  },
});

describe('ClassicLevelEngine', () => {
  let path: string;
  let engine: ClassicLevelEngine;
  beforeEach(async () => {
    path = freshPath();
    engine = await open(path);
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await engine.close();
  });

  const filesLike = (suffix: string): string[] => readdirSync(path).filter((name) => name.endsWith(suffix));
  const logBytes = (): number =>
    filesLike('.log').reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
  /** Random rows of a MiB in all, which no compression makes smaller; several tables hold them. */
  const fillAtRandom = async (): Promise<void> => {
    for (let table = 0; table < 4; table += 1) {
      const batch = engine.newBatch();
      for (let row = 0; row < 256; row += 1)
        batch.put(Buffer.concat([bytes('kept together/'), randomBytes(8)]), randomBytes(1024));
      await engine.write(batch);
      await engine.flush();
    }
  };
  const put = async (key: string, value: Uint8Array): Promise<void> => {
    const batch = engine.newBatch();
    batch.put(bytes(key), value);
    await engine.write(batch);
  };

  it('writes the memtable into a table file on flush, though the span it compacts is empty', async () => {
    await put('k', Buffer.alloc(100_000, 1));
    expect(filesLike('.ldb')).toEqual([]);
    expect(logBytes()).toBeGreaterThan(100_000);
    await engine.flush();
    expect(filesLike('.ldb')).toHaveLength(1);
    expect(logBytes()).toBeLessThan(100);
  });

  it('does nothing on a flush without writes before it', async () => {
    await put('k', bytes('v'));
    await engine.flush();
    const files = readdirSync(path);
    await engine.flush();
    expect(readdirSync(path)).toEqual(files);
  });

  it('notices a flush that failed in the background, and writes no more', async () => {
    await put('k', bytes('v'));
    rmSync(path, { recursive: true });
    await expect(engine.flush()).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(put('later', bytes('v'))).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(engine.flush()).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(engine.get(bytes('k'))).toEqual(bytes('v'));
  });

  it('compacts a span in small pieces, one after the other', async () => {
    await fillAtRandom();
    const compactRange = jest.spyOn(NativeLevel.prototype, 'compactRange');
    const sizes: number[] = [];
    const spans: { start: Buffer; end: Buffer }[] = [];
    compactRange.mockImplementation(async (from, to) => {
      const span = { start: from as Buffer, end: to as Buffer };
      spans.push(span);
      sizes.push(await engine.approximateBytes(span.start, span.end));
    });
    const [start, end] = [bytes('a'), bytes('z')];
    await engine.compact(start, end);
    compactRange.mockRestore();
    expect(spans.length).toBeGreaterThan(3);
    spans.forEach((span, at) => {
      expect(span.start).toEqual(spans[at - 1]?.end ?? start);
    });
    expect(spans.at(-1)?.end).toEqual(end);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(PIECE_BYTES);
    await engine.compact(start, end);
    expect((await engine.stats()).levels.map(({ runs }) => runs)).toEqual([1]);
  });

  it('ends a compaction after the piece under way when it is closed, and tells whoever asked', async () => {
    await fillAtRandom();
    const compactRange = jest.spyOn(NativeLevel.prototype, 'compactRange');
    const refused = expect(engine.compact(bytes('a'), bytes('z'))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    while (compactRange.mock.calls.length === 0) await setImmediate();
    await engine.close();
    await refused;
    expect(compactRange).toHaveBeenCalledTimes(1);
  });

  it('finds its rows again after reopening', async () => {
    await put('flushed', bytes('1'));
    await engine.flush();
    await put('not flushed', bytes('2'));
    await engine.close();
    engine = await open(path);
    expect(engine.get(bytes('flushed'))).toEqual(bytes('1'));
    expect(engine.get(bytes('not flushed'))).toEqual(bytes('2'));
  });

  it('goes on flushing after many flushes and reopenings', async () => {
    for (let round = 0; round < 12; round += 1) {
      await put(`k${round % 5}`, bytes(String(round)));
      await engine.flush();
      expect(logBytes()).toBeLessThan(100);
      if (round % 4 !== 3) continue;
      await engine.close();
      engine = await open(path);
    }
    expect(engine.get(bytes('k1'))).toEqual(bytes('11'));
  });

  it('refuses a directory that is in use', async () => {
    await expect(open(path)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  });

  it('reports a damaged manifest as corruption', async () => {
    await put('k', bytes('v'));
    await engine.close();
    const [manifest] = readdirSync(path).filter((name) => name.startsWith('MANIFEST-'));
    writeFileSync(join(path, String(manifest)), Buffer.alloc(100, 0x5a));
    await expect(open(path)).rejects.toMatchObject({ code: 'CORRUPTION' });
    engine = await open(freshPath());
  });

  it('reuses native batches without mixing their contents', async () => {
    for (let round = 0; round < 30; round += 1) {
      const batches = [engine.newBatch(), engine.newBatch(), engine.newBatch()];
      batches.forEach((batch, at) => {
        batch.put(bytes(`${at}`), bytes(`${round}`));
      });
      await Promise.all(batches.map((batch) => engine.write(batch)));
    }
    const dropped = engine.newBatch();
    dropped.put(bytes('never written'), bytes('x'));
    await put('last', bytes('x'));
    const iterator = engine.iterate({ start: bytes(''), end: bytes('\xff') });
    const rows = await iterator.next(100);
    await iterator.close();
    expect(rows.map(([key, value]) => `${key.toString()}=${value.toString()}`)).toEqual([
      '0=29',
      '1=29',
      '2=29',
      'last=x',
    ]);
  });
});

describe('mapNativeError', () => {
  const native = (message: string, code: string): Error => Object.assign(new Error(message), { code });

  it('tells full disks, corruption and the rest apart', () => {
    const full = native('IO error: /data/000012.log: No space left on device', 'LEVEL_IO_ERROR');
    expect(mapNativeError(full).code).toBe('DISK_FULL');
    expect(mapNativeError(native('IO error: Disk quota exceeded', 'LEVEL_IO_ERROR')).code).toBe('DISK_FULL');
    expect(mapNativeError(native('Corruption: bad block', 'LEVEL_CORRUPTION')).code).toBe('CORRUPTION');
    expect(mapNativeError(native('IO error: Input/output error', 'LEVEL_IO_ERROR')).code).toBe('INTERNAL');
    expect(mapNativeError('thrown text').code).toBe('INTERNAL');
  });

  it('looks into the error that opening wraps', () => {
    const inner = native('IO error: lock /data/LOCK: already held by process', 'LEVEL_LOCKED');
    const outer = Object.assign(new Error('Database failed to open', { cause: inner }), {
      code: 'LEVEL_DATABASE_NOT_OPEN',
    });
    expect(mapNativeError(outer)).toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect(mapNativeError(outer).message).toContain('LOCK');
  });
});
