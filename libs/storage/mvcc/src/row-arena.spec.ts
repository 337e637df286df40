import { timestamp } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import type { VersionRecord } from './record.js';
import { placeBytesOf, ROW_NAME_BYTES_MAX, ROW_VALUE_BYTES_MAX, RowArena } from './row-arena.js';

const version: fc.Arbitrary<VersionRecord> = fc.record({
  timestamp: fc.maxSafeNat().map(timestamp),
  sequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  expiry: fc.oneof(fc.constant(0), fc.maxSafeNat()).map(timestamp),
  tombstone: fc.boolean(),
  kind: fc.constantFrom(0, 0, 1, 255),
  value: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
});

/** As names are made: a character for each byte. */
const name = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('latin1'));

describe('the arena of rows', () => {
  it('gives back every row that was added or replaced, also after it was cleared', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.tuple(name, version, version))), (rounds) => {
        const arena = new RowArena();
        for (const rows of rounds) {
          arena.clear();
          const kept: [number, string, VersionRecord][] = [];
          for (const [named, first, second] of rows) {
            const place = arena.add(named, first);
            expect(arena.bytesAt(place)).toBe(placeBytesOf(named.length, first.value.length));
            const isReplaced = arena.replace(place, second);
            expect(isReplaced || second.value.length > first.value.length).toBe(true);
            kept.push([place, named, isReplaced ? second : first]);
          }
          for (const [place, named, row] of kept) {
            expect(arena.read(place)).toEqual(row);
            expect(arena.nameAt(place)).toBe(named);
            expect(arena.isNamed(place, named)).toBe(true);
            expect(arena.isNamed(place, `${named}x`)).toBe(false);
            expect(arena.isNamed(place, `x${named.slice(1)}`)).toBe(named.startsWith('x'));
          }
        }
      }),
    );
  });

  it('goes on in the next slab, and hands out copies', () => {
    const arena = new RowArena();
    const rowOf = (byte: number): VersionRecord => ({
      timestamp: timestamp(byte),
      sequence: byte,
      expiry: timestamp(0),
      tombstone: false,
      kind: 0,
      value: Buffer.alloc(ROW_VALUE_BYTES_MAX, byte),
    });
    const places = [1, 2, 3, 4, 5, 6, 7].map((byte) => arena.add('name', rowOf(byte)));
    const copy = arena.read(places[0] as number);
    arena.replace(places[0] as number, rowOf(9));
    expect(copy).toEqual(rowOf(1));
    expect(places.slice(1).map((place) => arena.read(place).value[0])).toEqual([2, 3, 4, 5, 6, 7]);
    const tooLong = { ...rowOf(1), value: Buffer.alloc(ROW_VALUE_BYTES_MAX + 1) };
    expect(() => arena.add('name', tooLong)).toThrow('too long');
    expect(() => arena.add('x'.repeat(ROW_NAME_BYTES_MAX + 1), rowOf(1))).toThrow('too long');
  });
});
