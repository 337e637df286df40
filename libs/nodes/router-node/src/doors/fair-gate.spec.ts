import { describe, expect, it } from '@jest/globals';

import { FairGate } from './fair-gate.js';

const never = new AbortController().signal;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('FairGate', () => {
  it('lets callers in by turns, whatever number each has waiting', async () => {
    const gate = new FairGate<string>(2);
    const order: string[] = [];
    for (let at = 0; at < 5; at += 1) void gate.enter('greedy', never).then(() => order.push('greedy'));
    void gate.enter('modest', never).then(() => order.push('modest'));
    await settled();
    expect(order).toEqual(['greedy', 'greedy']);
    expect([gate.taken, gate.waiting]).toEqual([2, 4]);
    for (const who of ['greedy', 'greedy', 'greedy', 'modest', 'greedy', 'greedy']) {
      gate.leave(who);
      await settled();
    }
    expect(order).toEqual(['greedy', 'greedy', 'greedy', 'modest', 'greedy', 'greedy']);
    expect([gate.taken, gate.waiting]).toEqual([0, 0]);
  });

  it('keeps places for others when one caller has its part', async () => {
    const gate = new FairGate<string>(3, 2);
    const order: string[] = [];
    for (let at = 0; at < 4; at += 1) void gate.enter('greedy', never).then(() => order.push('greedy'));
    void gate.enter('modest', never).then(() => order.push('modest'));
    await settled();
    expect(order).toEqual(['greedy', 'greedy', 'modest']);
    gate.leave('modest');
    await settled();
    expect(order).toHaveLength(3);
    gate.leave('greedy');
    await settled();
    expect(order).toEqual(['greedy', 'greedy', 'modest', 'greedy']);
  });

  it('forgets who gives up', async () => {
    const gate = new FairGate<string>(1);
    await gate.enter('a', never);
    const abort = new AbortController();
    const waits = gate.enter('a', abort.signal);
    abort.abort();
    await expect(waits).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(gate.enter('a', abort.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    gate.leave('a');
    expect([gate.taken, gate.waiting]).toEqual([0, 0]);
  });
});
