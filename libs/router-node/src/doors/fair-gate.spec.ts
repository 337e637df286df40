import { describe, expect, it } from '@jest/globals';

import { FairGate } from './fair-gate.js';

const never = new AbortController().signal;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('FairGate', () => {
  it('lets callers in by turns, whatever number each has waiting', async () => {
    const gate = new FairGate<{ name: string }>(2);
    const [greedy, modest] = [{ name: 'g' }, { name: 'm' }];
    const order: string[] = [];
    for (let at = 0; at < 5; at += 1) void gate.enter(greedy, never).then(() => order.push('g'));
    void gate.enter(modest, never).then(() => order.push('m'));
    await settled();
    expect(order).toEqual(['g', 'g']);
    expect([gate.taken, gate.waiting]).toEqual([2, 4]);
    for (let at = 0; at < 6; at += 1) {
      gate.leave();
      await settled();
    }
    expect(order).toEqual(['g', 'g', 'g', 'm', 'g', 'g']);
    expect([gate.taken, gate.waiting]).toEqual([0, 0]);
  });

  it('forgets who gives up', async () => {
    const gate = new FairGate<object>(1);
    const caller = {};
    await gate.enter(caller, never);
    const abort = new AbortController();
    const waits = gate.enter(caller, abort.signal);
    abort.abort();
    await expect(waits).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(gate.enter(caller, abort.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    gate.leave();
    expect([gate.taken, gate.waiting]).toEqual([0, 0]);
  });
});
