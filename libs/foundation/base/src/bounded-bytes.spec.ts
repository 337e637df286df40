import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { BoundedBytes } from './bounded-bytes.js';

describe('BoundedBytes', () => {
  it('lets items in up to its bytes, and again when some left', () => {
    const budget = new BoundedBytes({ name: 'a queue', limit: 10 });
    expect([budget.tryTake(4), budget.tryTake(6), budget.tryTake(1)]).toEqual([true, true, false]);
    expect([budget.used, budget.count, budget.peak, budget.refusals]).toEqual([10, 2, 10, 1]);
    expect(budget.isFull).toBe(true);
    budget.give(4);
    expect(budget.isFull).toBe(false);
    expect(budget.tryTake(4)).toBe(true);
  });

  it('lets items in up to their number, also when they weigh nothing', () => {
    const budget = new BoundedBytes({ name: 'a queue', limit: 10, countLimit: 2 });
    expect([budget.tryTake(0), budget.tryTake(0), budget.tryTake(0)]).toEqual([true, true, false]);
    expect(budget.isFull).toBe(true);
    budget.give(0);
    expect(budget.isFull).toBe(false);
  });

  it('lets an item that is larger than all of it through alone when asked to', () => {
    const budget = new BoundedBytes({ name: 'a queue', limit: 10 });
    expect(budget.tryTake(11)).toBe(false);
    expect(budget.tryTakeOrAlone(11)).toBe(true);
    expect(budget.tryTakeOrAlone(1)).toBe(false);
    budget.give(11);
    expect([budget.tryTakeOrAlone(1), budget.tryTakeOrAlone(9), budget.tryTakeOrAlone(1)]).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('counts what cannot be refused, and says that it is full', () => {
    const budget = new BoundedBytes({ name: 'a queue', limit: 10 });
    budget.take(25);
    expect([budget.used, budget.isFull, budget.peak]).toEqual([25, true, 25]);
    budget.resize(25, 5);
    expect([budget.used, budget.isFull, budget.count]).toEqual([5, false, 1]);
    budget.clear();
    expect([budget.used, budget.count, budget.peak]).toEqual([0, 0, 25]);
  });

  it('names the queue, the item and the limit in a refusal', () => {
    const budget = new BoundedBytes({ name: 'frames of peers', limit: 10, countLimit: 1 });
    expect(budget.refusal(11, 25)).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: 'frames of peers: 0 of 10 bytes are taken, no room for 11 bytes more',
      retryAfterMs: 25,
      details: { budget: 'frames of peers', limit: 10 },
    });
    budget.take(1);
    expect(budget.refusal(1).message).toContain('1 of 1 items');
  });

  it('stops the program when more is given back than was taken', () => {
    const budget = new BoundedBytes({ name: 'a queue', limit: 10 });
    budget.take(3);
    expect(() => budget.give(4)).toThrow('more given back than was taken');
    budget.give(3);
    expect(() => budget.give(0)).toThrow('more given back than was taken');
  });

  it('never passes its limits by what it let in', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 200 });
    fc.assert(
      fc.property(sizes, (items) => {
        const budget = new BoundedBytes({ name: 'a queue', limit: 100, countLimit: 7 });
        const held: number[] = [];
        for (const bytes of items) {
          if (budget.tryTake(bytes)) held.push(bytes);
          else if (held.length > 0) budget.give(held.shift() as number);
          const sum = held.reduce((total, one) => total + one, 0);
          expect([budget.used, budget.count]).toEqual([sum, held.length]);
          expect(sum <= 100 && held.length <= 7).toBe(true);
        }
      }),
      { seed: 20_261_129, numRuns: 200 },
    );
  });
});
