import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';
import fc from 'fast-check';

import { chooseStoresForNewRange, type StoreCandidate } from './choose-stores.js';

const store = (id: number, facts: Partial<StoreCandidate> = {}): StoreCandidate => ({
  storeId: storeId(id),
  isLive: true,
  replicas: 0,
  diskFreeBytes: 0,
  ...facts,
});

const choose = (stores: readonly StoreCandidate[], count: number) =>
  chooseStoresForNewRange({ stores, count, diskFreeBytesMin: 100 });

describe('chooseStoresForNewRange', () => {
  it('takes the stores with the fewest replicas', () => {
    const stores = [
      store(1, { replicas: 5 }),
      store(2, { replicas: 1 }),
      store(3),
      store(4, { replicas: 2 }),
    ];
    expect(choose(stores, 3)).toEqual({ decided: true, storeIds: [3, 2, 4] });
  });

  it('says which wish cannot be met', () => {
    expect(choose([store(1)], 2)).toMatchObject({ decided: false, code: 'too-few-stores' });
    expect(choose([store(1), store(2, { isLive: false })], 2)).toMatchObject({ code: 'too-few-live-stores' });
    expect(choose([store(1), store(2, { diskFreeBytes: 99 })], 2)).toMatchObject({
      code: 'too-little-space',
    });
  });

  it('gives all or nothing, distinct and live, whatever the order of the input', () => {
    const candidate = fc.record({
      isLive: fc.boolean(),
      replicas: fc.nat(5),
      diskFreeBytes: fc.constantFrom(0, 50, 100, 200),
    });
    fc.assert(
      fc.property(fc.array(candidate, { maxLength: 8 }), fc.integer({ min: 1, max: 5 }), (facts, count) => {
        const stores = facts.map((fact, index) => store(index + 1, fact));
        const decision = choose(stores, count);
        expect(choose(stores.toReversed(), count)).toEqual(decision);
        const usable = stores.filter((each) => each.isLive && each.diskFreeBytes !== 50);
        expect(decision.decided).toBe(usable.length >= count);
        if (!decision.decided) return;
        expect(new Set(decision.storeIds).size).toBe(count);
        const chosen = usable.filter((each) => decision.storeIds.includes(each.storeId));
        expect(chosen).toHaveLength(count);
        const worst = Math.max(...chosen.map((each) => each.replicas));
        for (const other of usable)
          if (!chosen.includes(other)) expect(other.replicas).toBeGreaterThanOrEqual(worst);
      }),
    );
  });
});
