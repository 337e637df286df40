import { describe, expect, it } from '@jest/globals';
import { logIndex, NO_BYTES, RowKind, timestamp } from '@cairn/base';
import { NO_EXPIRY, WriteBatchBuilder } from '@cairn/mvcc';

import { bytes } from '../kv-rig.testing.js';
import { ChangeRingBudget } from './change-ring-budget.js';
import { ChangeRing } from './change-ring.js';

const VALUE_BYTES = 1_000;

function payloadOf(key: string, at: number): Buffer {
  const builder = new WriteBatchBuilder();
  const version = {
    ...{ timestamp: timestamp(at), sequence: 0, expiry: NO_EXPIRY, tombstone: false, kind: RowKind.bytes },
    value: Buffer.alloc(VALUE_BYTES),
  };
  builder.addPart(bytes(key), version);
  return builder.finish();
}

function fill(ring: ChangeRing, from: number, count: number): void {
  for (let at = from; at < from + count; at += 1) {
    ring.push(logIndex(at), payloadOf('k', at), timestamp(at));
  }
}

const indexes = (ring: ChangeRing): number[] => [...ring.between(0, 1_000)].map(({ index }) => index);

describe('the rings of a store', () => {
  it('know from where on they are complete, and up to when the rest was', () => {
    const budget = new ChangeRingBudget({ changeRingBytesMax: 5_000, changeRingsBytesMax: 100_000 });
    const ring = new ChangeRing(budget, logIndex(9), timestamp(8));
    expect([ring.lowWater, ring.newestBefore, indexes(ring)]).toEqual([9, 8, []]);
    fill(ring, 10, 20);
    expect([ring.lowWater, ring.newestBefore]).toEqual([26, 26]);
    expect(indexes(ring)).toEqual([27, 28, 29]);
    expect([...ring.between(27, 28)].map(({ index }) => index)).toEqual([28]);
    expect([...ring.backwardsFrom(28)].map(({ index }) => index)).toEqual([28, 27]);
    expect(ring.bytes).toBeLessThanOrEqual(5_000);
    expect(budget).toMatchObject({ count: 1, bytes: ring.bytes });
    ring.close();
    expect(budget).toMatchObject({ count: 0, bytes: 0 });
  });

  it('share what all may have: who is many has less', () => {
    const budget = new ChangeRingBudget({ changeRingBytesMax: 20_000, changeRingsBytesMax: 40_000 });
    const rings = [1, 2].map(() => new ChangeRing(budget, logIndex(0), timestamp(0)));
    for (const ring of rings) fill(ring, 1, 30);
    expect(rings.map(({ bytes: held }) => held > 18_000)).toEqual([true, true]);
    const more = Array.from({ length: 6 }, () => new ChangeRing(budget, logIndex(0), timestamp(0)));
    for (const ring of more) {
      fill(ring, 1, 10);
      expect(budget.bytes).toBeLessThanOrEqual(40_000);
      expect(indexes(ring)).not.toEqual([]);
    }
  });

  it('hold no entry that is larger than they may be', () => {
    const budget = new ChangeRingBudget({ changeRingBytesMax: 500, changeRingsBytesMax: 500 });
    const ring = new ChangeRing(budget, logIndex(0), timestamp(0));
    fill(ring, 1, 1);
    expect([ring.lowWater, ring.bytes, budget.bytes]).toEqual([1, 0, 0]);
  });

  it('keep no more memory than the entry has', () => {
    const budget = new ChangeRingBudget({ changeRingBytesMax: 50_000, changeRingsBytesMax: 50_000 });
    const ring = new ChangeRing(budget, logIndex(0), timestamp(0));
    const payload = payloadOf('k', 1);
    const frame = Buffer.alloc(1_000_000);
    payload.copy(frame, 5_000);
    ring.push(logIndex(1), frame.subarray(5_000, 5_000 + payload.length), timestamp(1));
    const [entry] = ring.between(0, 1);
    const [key] = entry?.rows[0]?.row ?? [NO_BYTES];
    expect(key.buffer.byteLength).toBeLessThan(100_000);
    expect(entry?.rows).toBe(entry?.rows);
  });
});
