/*
 * The same work over one engine, as a store does it: batches of new versions of random keys, then point
 * reads of the newest version, scans, and the size on disk. One JSON object per line.
 *
 *   node libs/storage/lsm/dist/engine.bench.js --engine classic-level --keys 100000 --directory /disk/tmp
 *
 * With `--compact` everything is merged before it is read. What compression costs and saves is a pair of
 *
 *   node libs/storage/lsm/dist/engine.bench.js --engine lsm --memtable-bytes 2097152 --compressed-from 1
 *   node libs/storage/lsm/dist/engine.bench.js --engine lsm --memtable-bytes 2097152 --compression none
 *
 * A single run says nothing: run the two in turn, several times, and compare medians.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { noopLogger } from '@cairn/ports';
import { NodeClock, NodeDisk, NodeRng } from '@cairn/runtime-node';
import { ThreadJobs } from './thread.js';
import { LSM_DEFAULTS, LsmEngine, type LsmOptions } from './index.js';

const USAGE =
  'usage: engine.bench --engine lsm|classic-level [--keys N] [--versions N] [--directory PATH] [--compact] ' +
  '[--values noise|json] (lsm: [--compression none|deflate] [--compressed-from LEVEL] [--memtable-bytes N])';
const VALUE_BYTES = 256;
const ROWS_PER_BATCH = 100;
/** A checkpoint after so many batches, as a store makes them. */
const BATCHES_PER_FLUSH = 1000;
const POINT_READS = 100_000;
const SCAN_ROWS = 100_000;
const SCANS = 5;
const PAGE_ROWS = 1000;
const TIMESTAMP_MAX = 2 ** 53 - 1;

interface Work {
  readonly engine: string;
  readonly keys: number;
  readonly versions: number;
  readonly directory: string;
  /** Half of each value can be compressed, or values are rows as programs write them. */
  readonly values: 'noise' | 'json';
  readonly isCompacted: boolean;
  readonly lsm: Pick<LsmOptions, 'compression' | 'compressedFromLevel' | 'memtableBytes'>;
}

/** Numbers below a bound, the same in every run (Lehmer, 2^31 - 1). */
function* numbersBelow(bound: number): Generator<number, never> {
  let state = 20_260_301;
  for (;;) {
    state = (state * 48_271) % 2_147_483_647;
    yield state % bound;
  }
}

/** A row key as the store has them: the user's key, then the time, newest first. */
function versionKey(key: number, timestamp: number): Buffer {
  const bytes = Buffer.alloc(24, 0x6b);
  bytes.write(key.toString(36).padStart(8, '0'), 8, 'latin1');
  bytes.writeBigUInt64BE(BigInt(TIMESTAMP_MAX - timestamp), 16);
  return bytes;
}

/** A value of which half can be compressed: text repeats, digests do not. */
function valueOf(number: number): Buffer {
  const value = Buffer.alloc(VALUE_BYTES, 0x76);
  let state = (number % 2_147_483_646) + 1;
  for (let at = 0; at < VALUE_BYTES / 2; at += 1) {
    state = (state * 48_271) % 2_147_483_647;
    value[at] = state & 0xff;
  }
  return value;
}

/** About as long, as a program writes them. */
function jsonOf(number: number): Buffer {
  const row = {
    id: number,
    name: `customer ${number * 7919}`,
    city: ['Lisbon', 'Porto', 'Braga', 'Faro'][number % 4],
    balance: (number * 977) % 1_000_000,
    tags: ['new', 'checked'],
    updated: 1_767_225_600_000 + number * 977,
    address: { street: `street ${number % 613}`, house: number % 97, code: 1000 + (number % 8999) },
  };
  return Buffer.from(JSON.stringify(row).padEnd(VALUE_BYTES));
}

/** Prints what one operation took: time passed, and CPU of the process with all its threads. */
async function measured(work: Work, phase: string, effect: () => Promise<number>): Promise<void> {
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const operations = await effect();
  const wallUs = (performance.now() - begin) * 1000;
  const { user, system } = process.cpuUsage(cpu);
  const line = {
    engine: work.engine,
    ...work.lsm,
    phase,
    operations,
    wallUsPerOp: wallUs / operations,
    cpuUsPerOp: (user + system) / operations,
    rssBytes: process.memoryUsage.rss(),
    diskBytes: sizeOf(work.directory),
  };
  console.log(JSON.stringify(line));
}

/** Bytes that the files of a directory occupy, holes left out. */
function sizeOf(directory: string): number {
  return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).blocks * 512, 0);
}

async function write(engine: KvEngine, work: Work): Promise<number> {
  const numbers = numbersBelow(work.keys);
  const rows = work.keys * work.versions;
  for (let row = 0, batches = 0; row < rows; batches += 1) {
    const batch = engine.newBatch();
    for (; batch.length < ROWS_PER_BATCH && row < rows; row += 1) {
      const value = work.values === 'json' ? jsonOf(row) : valueOf(row);
      batch.put(versionKey(numbers.next().value, row), value);
    }
    await engine.write(batch);
    if (batches % BATCHES_PER_FLUSH === BATCHES_PER_FLUSH - 1) await engine.flush();
  }
  await engine.flush();
  return rows;
}

/** The newest version of a key: a seek and one row, as a read without the row cache does. */
async function readPoints(engine: KvEngine, work: Work): Promise<number> {
  const numbers = numbersBelow(work.keys);
  for (let read = 0; read < POINT_READS; read += 1) {
    const key = numbers.next().value;
    const row = engine.first(versionKey(key, TIMESTAMP_MAX), versionKey(key, 0));
    if (row instanceof Promise) await row;
  }
  return POINT_READS;
}

/** Single rows whose whole key is known. */
async function getKnown(engine: KvEngine, known: readonly Buffer[]): Promise<number> {
  for (let read = 0; read < POINT_READS; read += 1) {
    const key = known[(read * 7919) % known.length];
    if (key === undefined || engine.get(key) === undefined) throw new Error('a row is missing');
  }
  return POINT_READS;
}

async function scan(engine: KvEngine, found: Buffer[]): Promise<number> {
  const iterator = engine.iterate({ start: Buffer.alloc(0), end: Buffer.alloc(16, 0xff) });
  let rows = 0;
  while (rows < SCAN_ROWS) {
    const page = await iterator.next(PAGE_ROWS);
    if (page.length === 0) break;
    rows += page.length;
    if (found.length < SCAN_ROWS) found.push(...page.map(([key]) => key));
  }
  await iterator.close();
  return rows;
}

function openEngine(work: Work): Promise<KvEngine> {
  const parts = { path: work.directory, disk: new NodeDisk(), logger: noopLogger };
  switch (work.engine) {
    case 'classic-level':
      return openClassicLevelEngine(parts);
    case 'lsm':
      return LsmEngine.open({
        ...parts,
        ...work.lsm,
        clock: new NodeClock(),
        rng: new NodeRng(),
        runner: new ThreadJobs(),
        versioned: { namespaces: [0x6b], suffixBytes: 8 },
      });
    default:
      throw new Error(USAGE);
  }
}

async function run(work: Work): Promise<void> {
  const engine = await openEngine(work);
  try {
    await measured(work, 'write', () => write(engine, work));
    if (work.isCompacted) {
      await measured(work, 'compact', async () => {
        await engine.compact(Buffer.alloc(0), Buffer.alloc(16, 0xff));
        return 1;
      });
    }
    console.log(JSON.stringify({ engine: work.engine, ...work.lsm, stats: await engine.stats() }));
    const found: Buffer[] = [];
    for (let round = 0; round < SCANS; round += 1) await measured(work, 'scan', () => scan(engine, found));
    await measured(work, 'point', () => readPoints(engine, work));
    await measured(work, 'get', () => getKnown(engine, found));
  } finally {
    await engine.close();
  }
}

function workOf(argv: readonly string[]): Work {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      engine: { type: 'string', default: '' },
      keys: { type: 'string', default: '100000' },
      versions: { type: 'string', default: '10' },
      directory: { type: 'string', default: '.' },
      values: { type: 'string', default: 'noise' },
      compact: { type: 'boolean', default: false },
      compression: { type: 'string', default: 'deflate' },
      'compressed-from': { type: 'string', default: String(LSM_DEFAULTS.compressedFromLevel) },
      'memtable-bytes': { type: 'string', default: String(LSM_DEFAULTS.memtableBytes) },
    },
  });
  const keys = Number(values.keys);
  const versions = Number(values.versions);
  if (!(keys >= 1) || !(versions >= 1)) throw new Error(USAGE);
  if (values.compression !== 'none' && values.compression !== 'deflate') throw new Error(USAGE);
  if (values.values !== 'noise' && values.values !== 'json') throw new Error(USAGE);
  const lsm = {
    compression: values.compression,
    compressedFromLevel: Number(values['compressed-from']),
    memtableBytes: Number(values['memtable-bytes']),
  } as const;
  const directory = mkdtempSync(join(values.directory, 'engine-bench-'));
  return {
    ...{ engine: values.engine, keys, versions, directory, values: values.values },
    isCompacted: values.compact,
    lsm: values.engine === 'lsm' ? lsm : {},
  };
}

let directory: string | undefined;
try {
  const work = workOf(process.argv.slice(2));
  directory = work.directory;
  await run(work);
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
} finally {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
}
