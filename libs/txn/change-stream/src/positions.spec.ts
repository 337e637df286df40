import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';

import { comparePositions, inOrder, type Position } from './positions.js';

/** A step within a timestamp, as leaders count them behind each transaction. */
const STEP = 2 ** 21;

function at(key: string, sequence: number, start = 0, ts = 7): Position {
  return { timestamp: timestamp(ts), start, sequence, key: Buffer.from(key) };
}

function textOf({ key, sequence, start }: Position): string {
  return `${Buffer.from(key).toString()} ${sequence} ${start}`;
}

describe('the one order of all changes', () => {
  it('is for one key the order in which it was written, also within a timestamp', () => {
    const written = [at('k', 0), at('k', 1, 6), at('k', STEP), at('k', STEP + 1, 5), at('k', 0, 0, 8)];
    expect(inOrder(written.toReversed()).map(textOf)).toEqual(written.map(textOf));
  });

  it('keeps together what a transaction has written, whatever shares its timestamp', () => {
    const one = [at('a', 3, 5), at('z', 3, 5)];
    const others = [at('b', 3), at('b', 3, 4), at('b', 3, 6), at('b', 2), at('b', 4), at('m', 3)];
    const all = inOrder([...others, ...one]).map(textOf);
    const first = all.indexOf('a 3 5');
    expect(all.slice(first, first + 2)).toEqual(['a 3 5', 'z 3 5']);
  });

  it('has a place of its own for each', () => {
    const all = [at('a', 0), at('b', 0), at('a', 1), at('a', 0, 1), at('a', 0, 0, 8)];
    for (const one of all) {
      for (const other of all) expect(comparePositions(one, other) === 0).toBe(one === other);
    }
  });
});
