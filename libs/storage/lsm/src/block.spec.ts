import { deflateRawSync } from 'node:zlib';

import { describe, expect, it } from '@jest/globals';
import { crc32 } from '@cairn/codec';
import fc from 'fast-check';

import { bodyOf, isPlainBlock } from './block-read.js';
import { BLOCK_TRAILER_BYTES, blockBytesOf, BlockView, sealBlock } from './block.js';
import { COMPRESSED_BODY_BYTES_MAX, Compression } from './compression.js';
import { KeyView } from './key-view.js';
import { isDeleted, keyBytesOf, ROW_HEADER_BYTES, valueBytesOf, writeRow } from './row.js';

// What becomes of rows that are made a block and read back, and of blocks that somebody changed.

type Row = readonly [key: Uint8Array, value: Uint8Array | undefined];

const TABLE = { path: '/db/table-0000000001.lsm' };
const POSITION = 4711;

function sharedOf(keys: readonly Uint8Array[]): Uint8Array {
  const [first = Buffer.alloc(0)] = keys;
  const last = keys.at(-1) as Uint8Array;
  let shared = 0;
  while (shared < Math.min(first.length, last.length) && first[shared] === last[shared]) shared += 1;
  return keys.length === 1 ? Buffer.alloc(0) : first.subarray(0, shared);
}

/** The rows as a block, at some place of a larger array. */
function blockOf(rows: readonly Row[], isCompressed: boolean, start = 5): Uint8Array {
  const prefix = sharedOf(rows.map(([key]) => key));
  const rowBytes = rows.reduce((sum, [key, value]) => sum + 6 + key.length + (value?.length ?? 0), 0);
  const plain = blockBytesOf(rowBytes - rows.length * prefix.length, rows.length, prefix.length);
  const bytes = new Uint8Array(start + Math.max(plain, rowBytes));
  const offsets = new Uint32Array(rows.length);
  let end = start;
  for (const [row, [key, value]] of rows.entries()) {
    offsets[row] = end - start;
    end = writeRow(bytes, end, key, value);
  }
  const sealed = sealBlock(bytes, { start, end, offsets, count: rows.length, prefix }, isCompressed);
  if (!isCompressed) expect(sealed - start).toBe(plain);
  return bytes.slice(start, sealed);
}

function viewOf(body: Uint8Array): BlockView {
  const view = new BlockView();
  view.set(body, 0, body.length);
  return view;
}

function rowsOf(body: Uint8Array): Row[] {
  const view = viewOf(body);
  const key = new KeyView();
  return Array.from({ length: view.rowCount }, (_, row) => {
    const at = view.rowAt(row);
    view.showKey(at, key);
    const valueAt = at + ROW_HEADER_BYTES + keyBytesOf(body, at);
    const value = body.slice(valueAt, valueAt + valueBytesOf(body, at));
    return [key.copy(), isDeleted(body, at) ? undefined : value];
  });
}

/** A block around bytes that may be anything, with a checksum that is right. */
function forged(content: Uint8Array, bodyBytes: number, compression: number): Uint8Array {
  const block = Buffer.alloc(content.length + BLOCK_TRAILER_BYTES);
  block.set(content);
  block.writeUInt32LE(bodyBytes, content.length);
  block[content.length + 4] = compression;
  block.writeUInt32LE(crc32(block.subarray(0, -4)), block.length - 4);
  return block;
}

const bodyBytesOf = (block: Uint8Array): number =>
  new DataView(block.buffer, block.byteOffset + block.length - BLOCK_TRAILER_BYTES).getUint32(0, true);
const compressionOf = (block: Uint8Array): number => block.at(-5) as number;

const numbered = (count: number, valueBytes = 40): Row[] =>
  Array.from({ length: count }, (_, at): Row => [
    Buffer.from(`user/${String(at).padStart(6, '0')}`),
    at % 7 === 3 ? undefined : Buffer.alloc(valueBytes, `value ${at} `),
  ]);

const refusal = (code: string): unknown =>
  expect.objectContaining({ code, details: { path: TABLE.path, position: POSITION } });

const keyArbitrary = fc.oneof(
  fc.uint8Array({ maxLength: 10 }),
  fc.integer({ min: 0, max: 999 }).map((number) => Buffer.from(`table/row/${String(number)}`)),
  fc.integer({ min: 60, max: 300 }).map((length) => Buffer.alloc(length, 0x61)),
);
const rowsArbitrary = fc
  .uniqueArray(fc.tuple(keyArbitrary, fc.option(fc.uint8Array({ maxLength: 60 }), { nil: undefined })), {
    minLength: 1,
    maxLength: 60,
    selector: ([key]) => Buffer.from(key).toString('hex'),
  })
  .map((rows) => rows.toSorted(([one], [other]) => Buffer.compare(one, other)));

const plain = (rows: readonly Row[]): unknown =>
  rows.map(([key, value]) => [
    Buffer.from(key).toString('hex'),
    value === undefined ? undefined : Buffer.from(value).toString('hex'),
  ]);

describe('a block', () => {
  it('gives back the rows that it was made of, compressed or not', () => {
    fc.assert(
      fc.property(rowsArbitrary, fc.boolean(), (rows, isCompressed) => {
        const block = blockOf(rows, isCompressed);
        expect(plain(rowsOf(bodyOf(TABLE, POSITION, block)))).toEqual(plain(rows));
      }),
    );
  });

  it('finds the first row at or above any key', () => {
    fc.assert(
      fc.property(rowsArbitrary, fc.array(keyArbitrary, { maxLength: 20 }), (rows, targets) => {
        const view = viewOf(bodyOf(TABLE, POSITION, blockOf(rows, false)));
        for (const target of [...targets, ...rows.map(([key]) => key)]) {
          const expected = rows.findIndex(([key]) => Buffer.compare(key, target) >= 0);
          expect(view.lowerBound(KeyView.of(target))).toBe(expected < 0 ? rows.length : expected);
        }
      }),
    );
  });

  it('has a row larger than 64 KiB, and keys of the largest size', () => {
    for (const isCompressed of [false, true]) {
      for (const rows of [
        [[Buffer.from('k'), Buffer.alloc(70_000, 1)]],
        [0, 1, 0xffff].map((last) => [
          Buffer.concat([Buffer.alloc(131_069), Buffer.of(last >> 8, last)]),
          undefined,
        ]),
      ] as unknown as Row[][]) {
        const body = bodyOf(TABLE, POSITION, blockOf(rows, isCompressed));
        expect(plain(rowsOf(body))).toEqual(plain(rows));
      }
    }
  });

  it('keeps what its keys begin with once', () => {
    const rows = numbered(50, 0);
    // Header and last two digits of each key, then an offset.
    expect(blockOf(rows, false).length).toBe(50 * (6 + 2 + 2) + 'user/0000'.length + 16);
  });

  it('is the same for the same rows, and smaller compressed; not compressed where that saves little', () => {
    const rows = numbered(60);
    expect(blockOf(rows, true)).toEqual(blockOf(rows, true));
    expect(compressionOf(blockOf(rows, true))).toBe(Compression.deflate);
    expect(blockOf(rows, true).length).toBeLessThan(blockOf(rows, false).length / 2);
    let state = 1;
    const noise = Uint8Array.from({ length: 2000 }, () => (state = (state * 48_271) % 2_147_483_647) & 0xff);
    expect(compressionOf(blockOf([[Buffer.from('k'), noise]], true))).toBe(Compression.none);
    const large = Buffer.alloc(COMPRESSED_BODY_BYTES_MAX);
    expect(compressionOf(blockOf([[Buffer.from('k'), large]], true))).toBe(Compression.none);
    expect(compressionOf(blockOf([[Buffer.from('k'), large.subarray(100)]], true))).toBe(Compression.deflate);
  });
});

describe('a block that somebody changed', () => {
  it('is never taken for one, whichever bit was flipped or byte cut off', () => {
    for (const isCompressed of [false, true]) {
      const block = blockOf(numbered(20), isCompressed);
      for (let at = 0; at < block.length; at += 1) {
        for (const bit of [0, 7]) {
          const flipped = block.slice();
          flipped[at] = (flipped[at] as number) ^ (1 << bit);
          expect(isPlainBlock(flipped, 0, flipped.length)).toBe(false);
          expect(() => bodyOf(TABLE, POSITION, flipped)).toThrow(refusal('CORRUPTION'));
        }
        expect(isPlainBlock(block, 0, at)).toBe(false);
        expect(() => bodyOf(TABLE, POSITION, block.subarray(0, at))).toThrow(refusal('CORRUPTION'));
      }
    }
  });

  it('is of a later release when its checksum is right and its compression or format is not known', () => {
    const block = blockOf(numbered(20), false);
    const content = block.slice(0, -BLOCK_TRAILER_BYTES);
    for (const compression of [2, 3, 255]) {
      const newer = forged(content, content.length, compression);
      expect(isPlainBlock(newer, 0, newer.length)).toBe(false);
      expect(() => bodyOf(TABLE, POSITION, newer)).toThrow(refusal('FORMAT_TOO_NEW'));
    }
    content[content.length - 1] = 9;
    const newer = forged(content, content.length, Compression.none);
    expect(() => bodyOf(TABLE, POSITION, newer)).toThrow(refusal('FORMAT_TOO_NEW'));
  });

  it('is damaged when it does not hold as many bytes as it says', () => {
    const plainBlock = blockOf(numbered(20), false);
    const body = plainBlock.slice(0, -BLOCK_TRAILER_BYTES);
    const deflated = deflateRawSync(body);
    for (const bodyBytes of [
      0,
      1,
      body.length - 1,
      body.length + 1,
      COMPRESSED_BODY_BYTES_MAX,
      0xffff_ffff,
    ]) {
      for (const [content, compression] of [
        [body, Compression.none],
        [deflated, Compression.deflate],
      ] as const) {
        const wrong = forged(content, bodyBytes, compression);
        expect(isPlainBlock(wrong, 0, wrong.length)).toBe(false);
        expect(() => bodyOf(TABLE, POSITION, wrong)).toThrow(refusal('CORRUPTION'));
      }
    }
    const right = forged(deflated, body.length, Compression.deflate);
    expect(rowsOf(bodyOf(TABLE, POSITION, right))).toHaveLength(20);
    for (const cut of [0, 1, deflated.length - 1]) {
      const torn = forged(deflated.subarray(0, cut), body.length, Compression.deflate);
      expect(() => bodyOf(TABLE, POSITION, torn)).toThrow(refusal('CORRUPTION'));
    }
  });

  it('cannot make a reader allocate more than a block of the largest size that is compressed', () => {
    const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024));
    for (const bodyBytes of [100, COMPRESSED_BODY_BYTES_MAX, 64 * 1024 * 1024]) {
      const block = forged(bomb, bodyBytes, Compression.deflate);
      const before = process.memoryUsage().arrayBuffers;
      expect(() => bodyOf(TABLE, POSITION, block)).toThrow(refusal('CORRUPTION'));
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * COMPRESSED_BODY_BYTES_MAX);
    }
  });

  it('is damaged when its parts do not lie within it', () => {
    const content = blockOf(numbered(20), false).slice(0, -BLOCK_TRAILER_BYTES);
    const foot = new DataView(content.buffer, content.length - 7);
    const check = (): void => {
      const wrong = forged(content, content.length, Compression.none);
      expect(isPlainBlock(wrong, 0, wrong.length)).toBe(false);
      expect(() => bodyOf(TABLE, POSITION, wrong)).toThrow(refusal('CORRUPTION'));
    };
    for (const rows of [0, 0xffff]) {
      foot.setUint16(4, rows, true);
      check();
    }
    foot.setUint16(4, 20, true);
    foot.setUint32(0, 0xffff_ffff, true);
    check();
    for (const bytes of [0, 1, 6]) {
      const short = forged(content.subarray(content.length - bytes), bytes, Compression.none);
      expect(() => bodyOf(TABLE, POSITION, short)).toThrow(refusal('CORRUPTION'));
    }
  });

  it('is damaged when a row does not lie where the one before it ends, or is longer than a row can be', () => {
    const long = [[Buffer.from('k'), Buffer.alloc(70_000, 1)]] as unknown as Row[];
    for (const rows of [numbered(20), long]) {
      const content = blockOf(rows, false).slice(0, -BLOCK_TRAILER_BYTES);
      const view = viewOf(content);
      const offsetsAt = content.length - 7 - view.rowCount * (rows === long ? 4 : 2);
      const last = view.rowAt(view.rowCount - 1);
      // Lengths of keys and values, places of rows, and what says that a row with a value is deleted.
      const lies: [at: number, bytes: number[]][] = [
        [0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
        [0, [0xff]],
        [2, [0xff]],
        [2, [0]],
        [5, [0x3f]],
        [5, [0x40]],
        [5, [0x80]],
        [last + 2, [0xff]],
        [offsetsAt, [1]],
        [content.length - 7 - (rows === long ? 4 : 2), [0xee, 0xee]],
        [content.length - 7, [1]],
      ];
      for (const [at, bytes] of lies) {
        const lying = content.slice();
        if (bytes.every((byte, offset) => lying[at + offset] === byte)) continue;
        lying.set(bytes, at);
        const deflated = deflateRawSync(lying);
        expect(() => bodyOf(TABLE, POSITION, forged(lying, lying.length, Compression.none))).toThrow(
          refusal('CORRUPTION'),
        );
        expect(() => bodyOf(TABLE, POSITION, forged(deflated, lying.length, Compression.deflate))).toThrow(
          refusal('CORRUPTION'),
        );
        const plainBlock = forged(lying, lying.length, Compression.none);
        expect(isPlainBlock(plainBlock, 0, plainBlock.length)).toBe(false);
      }
    }
  });

  it('says how many bytes its body has', () => {
    const rows = numbered(20);
    expect(bodyBytesOf(blockOf(rows, true))).toBe(bodyOf(TABLE, 0, blockOf(rows, true)).length);
  });
});
