import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { noopLogger } from '@cairn/ports';
import { openClassicLevelEngine, type ClassicLevelEngine } from './classic-level.js';
import { mapNativeError } from './native-level.js';
import { describeKvEngine } from './testing.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const root = mkdtempSync(join(tmpdir(), 'cairn-engine-'));
let directories = 0;
const freshPath = (): string => join(root, String((directories += 1)));
const open = (path: string): Promise<ClassicLevelEngine> =>
  openClassicLevelEngine({ path, logger: noopLogger, writeBufferBytes: 4 << 20, blockCacheBytes: 8 << 20 });

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

describeKvEngine('ClassicLevelEngine', { open: () => open(freshPath()) });

describe('ClassicLevelEngine', () => {
  let path: string;
  let engine: ClassicLevelEngine;
  beforeEach(async () => {
    path = freshPath();
    engine = await open(path);
  });
  afterEach(async () => {
    await engine.close();
  });

  const filesLike = (suffix: string): string[] => readdirSync(path).filter((name) => name.endsWith(suffix));
  const logBytes = (): number =>
    filesLike('.log').reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
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
