import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, type RangeDescriptor } from '@cairn/base';
import fc from 'fast-check';

import { RangeMap, type RangeFacts } from './range-map.js';

const key = (text: string): Buffer => Buffer.from(text);

function range(
  id: number,
  [start, end]: readonly [string, string],
  version: number,
  confVersion = 1,
): RangeDescriptor {
  return {
    rangeId: rangeId(id),
    startKey: key(start),
    endKey: key(end),
    epoch: { version, confVersion },
    replicas: [1, 2, 3].map((store) => ({
      replicaId: replicaId(id * 10 + store),
      storeId: storeId(store),
      role: 'voter' as const,
    })),
  };
}

const facts = (descriptor: RangeDescriptor, leaderTerm = 0, bytes = 0): RangeFacts => ({
  descriptor,
  leaderTerm,
  bytes,
  readsPerSecond: 0,
  writesPerSecond: 0,
  laggingReplicas: 0,
});

const A = storeId(1);
const B = storeId(2);
const C = storeId(3);

describe('RangeMap', () => {
  it('believes the newest epoch and the leader of the highest term', () => {
    const map = new RangeMap();
    map.report(A, facts(range(1, ['', ''], 1), 5, 100));
    map.report(B, facts(range(1, ['', ''], 1, 2), 7, 200));
    map.report(A, facts(range(1, ['', ''], 1), 6, 300));
    map.report(C, facts(range(1, ['', ''], 1)));
    expect(map.at(key('x'))).toMatchObject({ leaderStoreId: B, leaderTerm: 7, bytes: 200 });
    expect(map.at(key('x'))?.descriptor.epoch.confVersion).toBe(2);
    map.report(B, facts(range(1, ['', ''], 1, 2)));
    expect(map.at(key('x'))).toMatchObject({ leaderStoreId: 0, leaderTerm: 7 });
  });

  it('knows who reports a range without being a member of it any more', () => {
    const map = new RangeMap();
    const before = range(1, ['', ''], 1, 4);
    const after = { ...range(1, ['', ''], 1, 5), replicas: before.replicas.slice(1) };
    map.report(A, facts(before));
    expect(map.foreignTo(A)).toEqual([]);
    map.report(B, facts(after));
    expect(map.foreignTo(A)).toEqual([after]);
    expect(map.foreignTo(B)).toEqual([]);
    map.remove(A, [rangeId(1)]);
    expect(map.foreignTo(A)).toEqual([]);
  });

  it('knows who reports a replica that was removed also when a later one of the same store is a member', () => {
    const map = new RangeMap();
    const before = range(1, ['', ''], 1, 4);
    const [first, ...others] = before.replicas;
    if (first === undefined) throw new Error('no members');
    const later = { ...first, replicaId: replicaId(900) };
    const after = { ...range(1, ['', ''], 1, 6), replicas: [...others, later] };
    map.report(A, facts(before));
    map.report(B, facts(after));
    expect(map.foreignTo(A)).toEqual([after]);
    map.report(A, facts(after));
    expect(map.foreignTo(A)).toEqual([]);
  });

  it('shows the new side of a split before the old side has told of it, and no old one after', () => {
    const map = new RangeMap();
    map.report(A, facts(range(1, ['', ''], 1)));
    map.report(A, facts(range(2, ['m', ''], 2)));
    expect(map.at(key('z'))?.descriptor.rangeId).toBe(2);
    expect(map.at(key('a'))).toBeUndefined();
    expect(map.coverage()).toMatchObject({ gaps: 1, conflicts: 0, firstGap: new Uint8Array(0) });
    map.report(A, facts(range(1, ['', 'm'], 2)));
    map.report(B, facts(range(1, ['', ''], 1)));
    expect(map.at(key('a'))?.descriptor.rangeId).toBe(1);
    expect(map.from(key('b'), 10).map((entry) => entry.descriptor.rangeId)).toEqual([1, 2]);
    expect(map.from(key('b'), 1)).toHaveLength(1);
    expect(map.coverage()).toMatchObject({ gaps: 0, conflicts: 0 });
  });

  it('goes on behind gaps, counts them, and counts overlaps of equal version', () => {
    const map = new RangeMap();
    map.report(A, facts(range(1, ['', 'c'], 3)));
    map.report(A, facts(range(2, ['e', 'g'], 3)));
    const idsFrom = (at: string): number[] => map.from(key(at), 10).map((entry) => entry.descriptor.rangeId);
    expect(['a', 'd', 'f', 'g'].map(idsFrom)).toEqual([[1, 2], [2], [2], []]);
    expect(map.coverage()).toEqual({ gaps: 2, conflicts: 0, firstGap: key('c') });
    map.report(B, facts(range(3, ['b', 'f'], 3)));
    expect(map.coverage().conflicts).toBe(1);
    map.remove(B, [rangeId(3)]);
    expect(map.coverage().conflicts).toBe(0);
  });

  it('forgets a range with its last replica, and what a full list does not name', () => {
    const map = new RangeMap();
    map.report(A, facts(range(1, ['', 'm'], 2), 3));
    map.report(B, facts(range(1, ['', 'm'], 2)));
    map.report(B, facts(range(2, ['m', ''], 2)));
    map.replace(A, []);
    expect(map.at(key('a'))).toMatchObject({ leaderStoreId: 0 });
    expect(map.isReported(A, rangeId(1))).toBe(false);
    map.replace(B, [facts(range(2, ['m', ''], 2))]);
    expect(map.at(key('a'))).toBeUndefined();
    expect(map.size).toBe(1);
  });

  it('arrives at the true map from the reports of any history, in any order', () => {
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 255 }), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, fc.infiniteStream(fc.nat(1_000)), (points, chance) => {
        const draw = (bound: number): number => (chance.next().value ?? 0) % bound;
        const hex = (point: number): string => String.fromCharCode(point);
        let current = [range(1, ['', ''], 1)];
        const history = [...current];
        points.forEach((point, index) => {
          const at = current.findIndex(({ startKey, endKey }) => {
            const cut = key(hex(point));
            return (
              Buffer.compare(startKey, cut) < 0 && (endKey.length === 0 || Buffer.compare(cut, endKey) < 0)
            );
          });
          const whole = current[at] as RangeDescriptor;
          const version = whole.epoch.version + 1;
          const epoch = { version, confVersion: 1 };
          const left = { ...whole, endKey: key(hex(point)), epoch };
          const right = {
            ...range(index + 2, ['', ''], version),
            startKey: key(hex(point)),
            endKey: whole.endKey,
          };
          current = current.with(at, left).toSpliced(at + 1, 0, right);
          history.push(left, right);
        });
        // Every descriptor that ever was, any number of times, shuffled; each one of the present at least
        // once.
        const reports = [...history, ...history].map((descriptor) => ({ descriptor, order: draw(1_000) }));
        reports.sort((a, b) => a.order - b.order);
        const map = new RangeMap();
        for (const { descriptor } of reports) {
          map.report(storeId(1 + draw(3)), facts(descriptor));
          const shown = [...map.entries()].filter((entry) => entry.placing === 'shown');
          for (const entry of shown) expect(map.at(entry.descriptor.startKey)).toBe(entry);
        }
        expect(map.coverage()).toMatchObject({ gaps: 0, conflicts: 0 });
        expect(map.from(key(''), 100).map((entry) => entry.descriptor)).toEqual(current);
        expect(map.size).toBe(current.length);
      }),
    );
  });
});
