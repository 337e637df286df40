import { describe, expect, it } from '@jest/globals';
import { ByteWriter, crc32, sealEnd, UINT48_MAX } from '@cairn/codec';

import { decodeManifest, encodeManifest, type ManifestContent, type RunRecord } from './manifest-format.js';
import { numberOfTableName, tableName, TABLE_NUMBER_MAX, type TableSummary } from './table-summary.js';

// Manifests whose checksums are right: an engine's, and those that somebody made.

const PATH = '/db/manifest-a';
const HEADER_BYTES = 28;

const table = (number: number, changes: Partial<TableSummary> = {}): TableSummary => ({
  number,
  bytes: 1000,
  rows: 10,
  deletedRows: 10,
  smallestKey: Buffer.alloc(0),
  largestKey: Buffer.from('z'),
  lowestSuffix: Buffer.alloc(0),
  ...changes,
});

const run = (id: number, level: number, ...tables: readonly TableSummary[]): RunRecord => ({
  id,
  level,
  slices: tables.map((each, at) => ({ table: each, from: Buffer.of(at), to: Buffer.of(at + 1) })),
});

function content(runs: readonly RunRecord[], changes: Partial<ManifestContent> = {}): ManifestContent {
  return { sequence: 3, directoryId: UINT48_MAX, state: { nextNumber: 100, runs }, ...changes };
}

function withBody(write: (body: ByteWriter) => void, version = 2): Buffer {
  const body = new ByteWriter(64);
  write(body);
  const bytes = body.take();
  const header = Buffer.alloc(HEADER_BYTES);
  encodeManifest(content([])).copy(header, 0, 0, HEADER_BYTES);
  header.writeUInt32LE(version, 4);
  header.writeUInt32LE(bytes.length, 16);
  header.writeUInt32LE(crc32(bytes), 20);
  return Buffer.concat([sealEnd(header), bytes]);
}

/** Runs as many as are said, each without a slice. */
const emptyRuns = (said: number, written: number) => (body: ByteWriter) => {
  body.u48(1);
  for (const number of [100, said]) body.varint(number);
  for (let at = 0; at < written; at += 1) for (const number of [1, 0, 0]) body.varint(number);
};

const damage = (message: string): Error =>
  expect.objectContaining({
    code: 'CORRUPTION',
    details: { path: PATH },
    message: expect.stringMatching(new RegExp(`^engine: manifest ${PATH}: .*${message}`)),
  }) as unknown as Error;

describe('a manifest', () => {
  it('is read as it was written, whatever stands behind it', () => {
    const runs = [run(9, 0, table(8)), run(7, 3, table(5), table(5), table(99, { bytes: 48, rows: 11 }))];
    for (const written of [content(runs), content([]), content([], { sequence: UINT48_MAX })]) {
      const bytes = encodeManifest(written);
      const read = decodeManifest(Buffer.concat([bytes, Buffer.alloc(40, 7)]), PATH);
      expect(JSON.stringify(read && encodeManifest(read))).toBe(JSON.stringify(bytes));
    }
  });

  it('of another format is of a later release, or of none', () => {
    expect(() => decodeManifest(withBody(emptyRuns(0, 0), 3), PATH)).toThrow(
      expect.objectContaining({ code: 'FORMAT_TOO_NEW', details: { path: PATH } }),
    );
    expect(() => decodeManifest(withBody(emptyRuns(0, 0), 1), PATH)).toThrow(
      damage('no release has written'),
    );
  });
});

describe('a forged manifest', () => {
  it.each([
    ['more runs than it has bytes', 2 ** 53 - 1, 0, 'runs do not fit'],
    ['three million runs without a slice', 3_000_000, 3_000_000, 'runs do not fit'],
    ['a run without a slice', 1, 6, 'no slice'],
  ])('with %s is damage that names the file', (_, said, written, message) => {
    const forged = withBody(emptyRuns(said, written));
    expect(() => decodeManifest(forged, PATH)).toThrow(damage(message));
  });

  it('with more slices than it has bytes is damage that names the file', () => {
    const forged = withBody((body) => {
      body.u48(1);
      for (const number of [100, 1, 1, 0, 2 ** 53 - 1]) body.varint(number);
      body.raw(Buffer.alloc(20));
    });
    expect(() => decodeManifest(forged, PATH)).toThrow(damage('slices do not fit'));
  });

  it('with a number that is too long, or bytes behind its end, is damage that names the file', () => {
    const endless = withBody((body) => {
      body.u48(1);
      body.raw(Buffer.alloc(20, 0xff));
    });
    expect(() => decodeManifest(endless, PATH)).toThrow(damage('varint too long'));
    expect(() => decodeManifest(withBody(emptyRuns(0, 1)), PATH)).toThrow(damage('bytes left over'));
  });

  const backwards = (one: number, other: number): RunRecord => {
    const { slices } = run(2, 0, table(1), table(1), table(1));
    return { id: 2, level: 0, slices: [slices[one], slices[other]] as RunRecord['slices'] };
  };
  const empty = { table: table(1), from: Buffer.of(4), to: Buffer.of(4) };
  it.each<[string, ManifestContent, string]>([
    ['more states than there can be', content([], { sequence: UINT48_MAX + 1 }), 'states'],
    ['no next number', content([], { state: { nextNumber: 0, runs: [] } }), 'next number'],
    ['a next number above all', content([], { state: { nextNumber: 2 ** 48, runs: [] } }), 'next number'],
    ['a table of the future', content([run(2, 0, table(100))]), 'not taken yet'],
    ['table 0', content([run(2, 0, table(0))]), 'not taken yet'],
    ['a run of the future', content([run(100, 0, table(1))]), 'not taken yet'],
    ['levels that fall', content([run(2, 1, table(1)), run(4, 0, table(3))]), 'level 0 comes behind'],
    ['a level above all', content([run(2, 17, table(1))]), 'level 17'],
    ['a run twice', content([run(2, 0, table(1)), run(2, 0, table(3))]), 'same id'],
    ['a table in two runs', content([run(2, 0, table(1)), run(4, 0, table(1))]), 'is in the runs 2 and 4'],
    ['slices that fall', content([backwards(1, 0)]), 'not in its place'],
    ['slices that overlap', content([backwards(1, 1)]), 'not in its place'],
    ['a slice of no key', content([{ id: 2, level: 0, slices: [empty] }]), 'not in its place'],
    ['a table without a footer', content([run(2, 0, table(1, { bytes: 47 }))]), '47 bytes'],
    ['a table above 4 GiB', content([run(2, 0, table(1, { bytes: 2 ** 32 }))]), '4294967296 bytes'],
    ['a table without a row', content([run(2, 0, table(1, { rows: 0, deletedRows: 0 }))]), '0 rows'],
    ['more deletions than rows', content([run(2, 0, table(1, { rows: 9 }))]), '10 of them deleted'],
    ['keys that fall', content([run(2, 0, table(1, { smallestKey: Buffer.from('zz') }))]), 'do not rise'],
  ])('with %s is damage that names the file', (_, forged, message) => {
    expect(() => decodeManifest(encodeManifest(forged), PATH)).toThrow(damage(message));
  });
});

describe('the name of a table', () => {
  it('has its number, and no other name has', () => {
    for (const number of [0, 31, 9_999_999_999, 10_000_000_000, TABLE_NUMBER_MAX - 1]) {
      expect(numberOfTableName(tableName(number))).toBe(number);
    }
    const others = ['table-31.lsm', 'table-00000000031.lsm', 'table-0000000031.lsm.new', 'manifest-a'];
    for (const name of [...others, tableName(TABLE_NUMBER_MAX), `table-${'9'.repeat(20)}.lsm`]) {
      expect(numberOfTableName(name)).toBeUndefined();
    }
  });
});
