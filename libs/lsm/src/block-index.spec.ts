import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { BlockIndex } from './block-index.js';
import { KeyView } from './key-view.js';

function indexOf(separators: readonly Buffer[]): BlockIndex {
  let end = 0;
  const ends = separators.map((separator) => (end += separator.length));
  return new BlockIndex(Uint32Array.from(ends), Buffer.concat(separators));
}

/** The first separator at or above the key, or the last block. */
function expected(separators: readonly Buffer[], key: Buffer): number {
  const found = separators.findIndex((separator) => Buffer.compare(separator, key) >= 0);
  return found < 0 ? separators.length - 1 : found;
}

describe('the index of blocks', () => {
  it('finds what a look at every separator finds', () => {
    // Few different bytes, so that keys share beginnings, end early and meet separators exactly.
    const tail = fc.array(fc.constantFrom(0, 1, 0x61, 0xff), { maxLength: 7 });
    const shared = fc.constantFrom('', 'a', 'user/0000');
    fc.assert(
      fc.property(shared, fc.array(tail, { minLength: 1 }), tail, fc.boolean(), (prefix, tails, own, has) => {
        const all = tails.map((bytes) => Buffer.concat([Buffer.from(prefix), Buffer.from(bytes)]));
        const separators = [...new Map(all.map((key) => [key.toString('hex'), key])).values()];
        separators.sort((one, other) => Buffer.compare(one, other));
        const key = Buffer.concat([Buffer.from(has ? prefix : ''), Buffer.from(own)]);
        for (const sought of [key, ...separators]) {
          expect(indexOf(separators).blockFor(KeyView.of(sought))).toBe(expected(separators, sought));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('knows keys on either side of everything', () => {
    const index = indexOf(['m/10', 'm/20', 'm/30'].map((text) => Buffer.from(text)));
    expect(
      ['a', 'm', 'm/', 'm/15', 'm/20', 'm/3', 'm/31', 'z'].map((text) =>
        index.blockFor(KeyView.of(Buffer.from(text))),
      ),
    ).toEqual([0, 0, 0, 1, 1, 2, 2, 2]);
  });
});
