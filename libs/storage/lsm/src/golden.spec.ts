import { deflateSync, inflateSync } from 'node:zlib';

import { describe, expect, it } from '@jest/globals';
import { crc32 } from '@cairn/codec';
import { noopLogger } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { bodyOf } from './block-read.js';
import { GOLDEN } from './golden.testing.js';
import { InlineJobs, LsmEngine } from './index.js';
import { KeyShape } from './key-shape.js';
import type { ManifestState } from './manifest-format.js';
import { Manifest } from './manifest.js';
import { PackedRow } from './packed-row.js';
import { writeRow } from './row.js';
import { decodeFooter, FOOTER_BYTES } from './table-format.js';
import { tableName, type TableSummary } from './table-summary.js';
import { readMeta, openTable } from './table.js';
import { writeTable } from './write-table.js';

/*
 * Goal: what this release writes every later one reads. Method: files from the time at which the format was
 * settled lie in `golden.testing.ts`; they must be read, and the same rows must make the same bytes again.
 *
 * What deflate makes of a body may differ from one build of Node to another, so of a compressed table the
 * bodies are compared. All else of it is compared with a table that is not compressed.
 */

type Row = readonly [key: Buffer, value: Buffer | undefined];

const PLACE = { directory: '/engine', directoryId: 0xc0ffee_123456 };
const ID_RNG = { next: () => 0, integer: () => 0, bytes: () => Buffer.from('563412eeffc0', 'hex') };
const VERSIONED = { namespaces: [0x10, 0x13], suffixBytes: 8 };

/** Rows for every kind of block: keys that share a prefix, deletions, a row above 64 KiB, noise. */
function goldenRows(): Row[] {
  const version = (namespace: number, name: string, suffix: number): Buffer =>
    Buffer.concat([Buffer.of(namespace), Buffer.from(`${name}\0\x01`), Buffer.alloc(8, suffix)]);
  const rows: Row[] = [[Buffer.alloc(0), Buffer.from('the empty key')]];
  for (let at = 0; at < 40; at += 1) {
    const key = version(0x10, `users/${String(at).padStart(4, '0')}`, 0xf0 - at);
    rows.push([key, at % 5 === 4 ? undefined : Buffer.from(`value number ${at} of many`)]);
  }
  rows.push([version(0x10, 'users/large', 0x77), Buffer.alloc(70_000, 'large ')]);
  let state = 1;
  const noise = Buffer.from(
    Array.from({ length: 480 }, () => (state = (state * 48_271) % 2_147_483_647) & 0xff),
  );
  rows.push([version(0x10, 'users/noise', 0x66), noise]);
  for (let at = 0; at < 9; at += 1) rows.push([version(0x13, `set\0\x01field-${at}`, at), Buffer.alloc(0)]);
  return rows;
}

async function directory(): Promise<SimDisk> {
  const medium = new SimDisk(new SimRng(1));
  await medium.attach().makeDirectory('/engine');
  return medium;
}

async function tableOf(isCompressed: boolean): Promise<{ bytes: Buffer; summary: TableSummary }> {
  const medium = await directory();
  const options = {
    ...{ ...PLACE, outputNumber: 7, shape: new KeyShape(VERSIONED) },
    ...{ blockBytes: 512, bytesExpected: 4096, isCompressed },
  };
  const summary = await writeTable(medium.attach(), options, async (writer) => {
    const row = new PackedRow();
    for (const [key, value] of goldenRows()) {
      const bytes = new Uint8Array(6 + key.length + (value?.length ?? 0));
      writeRow(bytes, 0, key, value);
      row.lookAt(bytes, 0);
      if (writer.add(row)) await writer.drain();
    }
  });
  const bytes = medium.peek(`/engine/${tableName(7)}`);
  if (bytes === undefined || summary === undefined) throw new Error('no table was written');
  return { bytes, summary };
}

const stateOf = (summary: TableSummary): ManifestState => ({
  nextNumber: 9,
  runs: [
    { id: 8, level: 2, slices: [{ table: summary, from: Buffer.alloc(0), to: Buffer.from([0x13, 0xff]) }] },
  ],
});

async function manifestOf(summary: TableSummary): Promise<Buffer> {
  const medium = await directory();
  const { manifest } = await Manifest.open({
    ...PLACE,
    disk: medium.attach(),
    logger: noopLogger,
    rng: ID_RNG,
  });
  await manifest.write(stateOf(summary));
  await manifest.close();
  return medium.peek('/engine/manifest-a') ?? Buffer.alloc(0);
}

const golden = (name: keyof typeof GOLDEN): Buffer =>
  inflateSync(Buffer.from(GOLDEN[name].join(''), 'base64'));

async function put(medium: SimDisk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await medium.attach().open(path, { mode: 'write' });
  await file.write([bytes], 0);
  await file.sync();
  await file.close();
}

/** The bodies of a table's blocks, and what was done to each on disk. */
async function bodiesOf(
  bytes: Buffer,
  summary: TableSummary,
): Promise<{ bodies: string[]; compressions: number[] }> {
  const medium = await directory();
  await put(medium, `/engine/${tableName(7)}`, bytes);
  const table = await openTable(medium.attach(), PLACE, { ...summary, bytes: bytes.length });
  const meta = await readMeta(table);
  const blocks = Array.from({ length: meta.blocks }, (_, block) =>
    bytes.subarray(meta.positionOf(block), meta.positionOf(block + 1)),
  );
  await table.file.close();
  return {
    bodies: blocks.map((block, at) => Buffer.from(bodyOf(table, meta.positionOf(at), block)).toString('hex')),
    compressions: blocks.map((block) => block.at(-5) as number),
  };
}

/** What an engine finds in a directory of a table and manifest. */
async function rowsIn(table: Buffer, manifest: Buffer): Promise<Row[]> {
  const medium = await directory();
  await put(medium, `/engine/${tableName(7)}`, table);
  await put(medium, '/engine/manifest-a', manifest);
  const disk = medium.attach();
  const clock = {
    ...new SimScheduler().clockFor('test'),
    defer: (callback: () => void) => void setImmediate(callback),
  };
  const engine = await LsmEngine.open({
    ...{
      path: '/engine',
      disk,
      clock,
      logger: noopLogger,
      rng: new SimRng(1),
      runner: new InlineJobs(disk),
      versioned: VERSIONED,
    },
  });
  const iterator = engine.iterate({ start: Buffer.alloc(0), end: Buffer.alloc(7, 0xff) });
  const rows: Row[] = [];
  for (;;) {
    const page = await iterator.next(100);
    if (page.length === 0) break;
    rows.push(...page);
  }
  for (const [key, value] of rows) {
    expect(engine.get(key)).toEqual(value);
    expect(await engine.first(key, Buffer.concat([key, Buffer.of(0)]))).toEqual([key, value]);
  }
  await iterator.close();
  await engine.close();
  return rows;
}

function withChecksum(footer: Buffer): Buffer {
  footer.writeUInt32LE(crc32(footer.subarray(0, -4)), footer.length - 4);
  return footer;
}

const live = goldenRows().filter(([, value]) => value !== undefined);
const asText = (bytes: Buffer): string[] =>
  deflateSync(bytes, { level: 9 })
    .toString('base64')
    .match(/.{1,100}/g) ?? [];

describe('files that were written when the format was settled', () => {
  it('are made again of the same rows, byte for byte', async () => {
    const { bytes, summary } = await tableOf(false);
    const manifest = await manifestOf(summary);
    expect({ table: asText(bytes), manifest: asText(manifest) }).toEqual({
      table: asText(golden('table')),
      manifest: asText(golden('manifest')),
    });
  });

  it('are read by the engine, compressed or not', async () => {
    expect(await rowsIn(golden('table'), golden('manifest'))).toEqual(live);
    expect(await rowsIn(golden('compressedTable'), golden('compressedManifest'))).toEqual(live);
  });

  it('have a block of every kind', async () => {
    const { summary } = await tableOf(true);
    const { bodies, compressions } = await bodiesOf(golden('compressedTable'), summary);
    expect(new Set(compressions)).toEqual(new Set([0, 1]));
    expect(new Set(bodies.map((body) => body.slice(-2)))).toEqual(new Set(['01', '02']));
    const again = await bodiesOf((await tableOf(true)).bytes, summary);
    expect(again).toEqual({ bodies, compressions });
    const plain = await bodiesOf(golden('table'), summary);
    expect(plain.bodies).toEqual(bodies);
    expect(new Set(plain.compressions)).toEqual(new Set([0]));
  });

  it('are refused when a later release wrote them, and when none did', () => {
    const table = golden('table');
    const footer = table.subarray(-FOOTER_BYTES);
    const { blocks, number, directoryId } = decodeFooter(footer, table.length, '/t');
    expect([number, directoryId]).toEqual([7, PLACE.directoryId]);
    expect(blocks).toBeGreaterThan(5);
    for (const [version, code] of [
      [4, 'FORMAT_TOO_NEW'],
      [2, 'CORRUPTION'],
    ] as const) {
      const other = Buffer.from(footer);
      other.writeUInt32LE(version, 4);
      expect(() => decodeFooter(withChecksum(other), table.length, '/t')).toThrow(
        expect.objectContaining({ code, details: { path: '/t' } }),
      );
    }
  });
});
