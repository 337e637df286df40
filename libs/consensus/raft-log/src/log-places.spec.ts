import { describe, expect, it } from '@jest/globals';
import { LogPlaces } from './log-places.js';

describe('a place in the log', () => {
  it('is exact up to its bound, and exact again from a new base', () => {
    const places = new LogPlaces(1);
    const last = 2 ** 21;
    places.checkEpoch(last);
    expect(() => {
      places.checkEpoch(last + 1);
    }).toThrow('too many live segments');
    const offsets = [0, 1, 3, 2 ** 31 - 1, 2 ** 32 - 1];
    for (const offset of offsets) {
      const position = places.of(last, offset);
      expect([places.epochOf(position), places.offsetOf(position)]).toEqual([last, offset]);
      expect(places.of(last, offset + 1)).toBeGreaterThan(position);
    }
    const before = offsets.map((offset) => places.of(last, offset));
    expect(places.isFarBehind(last, 2 ** 20)).toBe(true);
    const fall = places.moveBase(last - 1);
    expect(before.map((position) => position - fall)).toEqual(
      offsets.map((offset) => places.of(last, offset)),
    );
    expect(places.isFarBehind(last, 2 ** 20)).toBe(false);
    expect(places.epochOf(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
  });
});
