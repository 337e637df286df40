import { rangeId, type RangeDescriptor } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { covers, overlap } from './range-spans.js';
import { SpanIndex, type Spanned } from './span-index.js';

const key = (n: number): Uint8Array => (n === 0 ? new Uint8Array(0) : Uint8Array.of(n));

/** Neighbouring ranges between the cuts; `isHere` says which of them the store has. */
function rangesOf(cuts: readonly number[]): RangeDescriptor[] {
  const starts = [0, ...[...new Set(cuts)].sort((one, other) => one - other)];
  return starts.map((start, at) => ({
    rangeId: rangeId(at + 1),
    startKey: key(start),
    endKey: key(starts[at + 1] ?? 0),
    epoch: { version: 1, confVersion: 1 },
    replicas: [],
  }));
}

describe('SpanIndex', () => {
  it('finds what a look at every replica would', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 20 });
    const asked = fc.record({ start: fc.integer({ min: 0, max: 61 }), end: fc.integer({ min: 0, max: 62 }) });
    fc.assert(
      fc.property(
        cuts,
        fc.array(fc.boolean(), { maxLength: 21 }),
        asked,
        fc.nat(),
        (at, here, span, seed) => {
          const all = rangesOf(at).map((descriptor): Spanned => ({ descriptor }));
          const mine = all.filter((_, index) => here[index] === true);
          const index = new SpanIndex<Spanned>();
          // In any order, and with some that come and go.
          for (const each of [...mine].sort(
            (one, other) =>
              ((one.descriptor.rangeId * 7919 + seed) % 13) - ((other.descriptor.rangeId * 7919 + seed) % 13),
          ))
            index.add(each);
          for (const each of mine.slice(0, 3)) {
            index.remove(each);
            index.add(each);
          }
          for (let n = 0; n <= 61; n += 1) {
            expect(index.covering(key(n))).toBe(mine.find(({ descriptor }) => covers(descriptor, key(n))));
          }
          if (span.end !== 0 && span.end <= span.start) return;
          const wanted = {
            ...(rangesOf([])[0] as RangeDescriptor),
            rangeId: rangeId(2),
            startKey: key(span.start),
            endKey: key(span.end),
          };
          const found = index.overlapping(wanted);
          const others = mine.filter(
            ({ descriptor }) => descriptor.rangeId !== 2 && overlap(descriptor, wanted),
          );
          expect(found === undefined).toBe(others.length === 0);
          if (found !== undefined) expect(others).toContain(found);
        },
      ),
      { seed: 20_261_121, numRuns: 500 },
    );
  });

  it('refuses to let go of a replica that it does not have', () => {
    const index = new SpanIndex<Spanned>();
    const [descriptor] = rangesOf([]);
    expect(() => index.remove({ descriptor: descriptor as RangeDescriptor })).toThrow(
      'indexed by its start key',
    );
  });
});
