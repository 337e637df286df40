import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { middleOf, piecesOf, type KeySpan } from './compaction-pieces.js';

const PIECE_BYTES = 100;
const EVERYTHING = { start: Buffer.alloc(0), end: Buffer.alloc(8, 0xff) };

interface Row {
  readonly key: Uint8Array;
  readonly bytes: number;
}

const isIn = (key: Uint8Array, start: Uint8Array, end: Uint8Array): boolean =>
  Buffer.compare(start, key) <= 0 && Buffer.compare(key, end) < 0;

/** The pieces that are found of a store of these rows, and how often it was asked for an estimate. */
async function cut(
  rows: readonly Row[],
  span: KeySpan = EVERYTHING,
): Promise<{ pieces: KeySpan[]; asked: number }> {
  const pieces: KeySpan[] = [];
  let asked = 0;
  const bytesOf = async (start: Uint8Array, end: Uint8Array): Promise<number> => {
    asked += 1;
    return rows.reduce((sum, { key, bytes }) => sum + (isIn(key, start, end) ? bytes : 0), 0);
  };
  for await (const piece of piecesOf(span, PIECE_BYTES, bytesOf)) pieces.push(piece);
  return { pieces, asked };
}

const rowsIn = (rows: readonly Row[], { start, end }: KeySpan): readonly Row[] =>
  rows.filter(({ key }) => isIn(key, start, end));

const bytesIn = (rows: readonly Row[], span: KeySpan): number =>
  rowsIn(rows, span).reduce((sum, { bytes }) => sum + bytes, 0);

/** Bytes that are often the first or the last of all, or the same. */
const keyArbitrary = fc
  .array(fc.oneof(fc.constantFrom(0, 1, 0x61, 0xfe, 0xff), fc.nat(255)), { maxLength: 7 })
  .map((bytes) => Uint8Array.from(bytes));

describe('the key between two keys', () => {
  it('lies between them, unless one is the other with a zero behind it', () => {
    fc.assert(
      fc.property(keyArbitrary, keyArbitrary, (one, other) => {
        const [low, high] = Buffer.compare(one, other) < 0 ? [one, other] : [other, one];
        const middle = middleOf(low, high);
        if (middle === undefined) {
          expect([Buffer.from(low), Buffer.concat([low, Buffer.of(0)])]).toContainEqual(Buffer.from(high));
          return;
        }
        expect(Buffer.compare(low, middle)).toBe(-1);
        expect(Buffer.compare(middle, high)).toBe(-1);
        expect(middle.length).toBeLessThanOrEqual(Math.max(low.length, high.length) + 1);
      }),
    );
  });
});

describe('the pieces of a span', () => {
  it('lie one behind the other, and only those around a large row are too large', async () => {
    const rowArbitrary = fc.record({ key: keyArbitrary, bytes: fc.integer({ min: 1, max: 150 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(rowArbitrary, {
          maxLength: 60,
          selector: ({ key }) => Buffer.from(key).toString('hex'),
        }),
        async (rows) => {
          const { pieces } = await cut(rows);
          expect(pieces[0]?.start).toEqual(EVERYTHING.start);
          expect(pieces.at(-1)?.end).toEqual(EVERYTHING.end);
          pieces.forEach((piece, at) => {
            if (at > 0) expect(piece.start).toEqual(pieces[at - 1]?.end);
            expect(Buffer.compare(piece.start, piece.end)).toBe(-1);
            const bytes = bytesIn(rows, piece);
            if (at < pieces.length - 1) expect(bytes).toBeGreaterThanOrEqual(PIECE_BYTES / 2);
            if (bytes <= PIECE_BYTES) return;
            const largest = Math.max(...rowsIn(rows, piece).map((row) => row.bytes));
            expect(bytes - largest).toBeLessThan(PIECE_BYTES / 2);
          });
        },
      ),
      { numRuns: 50 },
    );
  });

  it('are found below a prefix of a KiB that all keys share, the first slowly and the others soon', async () => {
    const prefix = Buffer.alloc(1000, 'p');
    const rows = Array.from({ length: 64 }, (_, at) => ({
      key: Buffer.concat([prefix, Buffer.of(at)]),
      bytes: 30,
    }));
    const { pieces, asked } = await cut(rows);
    for (const piece of pieces) expect(bytesIn(rows, piece)).toBeLessThanOrEqual(PIECE_BYTES);
    expect(pieces.length).toBeLessThan((64 * 30 * 2) / PIECE_BYTES + 2);
    expect(asked).toBeLessThan(2 * 8.1 * 1000 + pieces.length * 20);
  });

  it('become one when the span holds little or nothing', async () => {
    expect((await cut([])).pieces).toEqual([EVERYTHING]);
    expect(await cut([{ key: Buffer.from('k'), bytes: PIECE_BYTES }])).toEqual({
      pieces: [EVERYTHING],
      asked: 1,
    });
  });
});
