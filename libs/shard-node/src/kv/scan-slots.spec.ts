import { describe, expect, it } from '@jest/globals';

import { ScanSlots } from './scan-slots.js';

class Scans {
  readonly slots: ScanSlots;
  readonly begun: string[] = [];
  readonly #ends: (() => void)[] = [];

  constructor(slotsMax: number, waitingMax: number) {
    this.slots = new ScanSlots(slotsMax, waitingMax);
  }

  run(caller: object, name: string): boolean {
    return this.slots.run(caller, () => {
      this.begun.push(name);
      return new Promise((resolve) => {
        this.#ends.push(resolve);
      });
    });
  }

  async endOne(): Promise<void> {
    this.#ends.shift()?.();
    for (let step = 0; step < 4; step += 1) await Promise.resolve();
  }
}

describe('slots for scans', () => {
  it('leave room in the line for callers that come later', () => {
    const scans = new Scans(1, 16);
    const [greedy, late, later] = [{}, {}, {}];
    scans.run(greedy, 'runs');
    const taken = Array.from({ length: 100 }, () => scans.run(greedy, 'g')).filter(Boolean).length;
    expect(taken).toBe(8);
    expect(Array.from({ length: 100 }, () => scans.run(late, 'l')).filter(Boolean).length).toBe(4);
    expect(scans.run(later, 'x')).toBe(true);
    expect(scans.slots.waitingCount).toBe(13);
  });

  it('serve callers in turn, whoever waits with how many', async () => {
    const scans = new Scans(1, 100);
    const [greedy, late] = [{}, {}];
    for (const name of ['g0', 'g1', 'g2', 'g3']) scans.run(greedy, name);
    scans.run(late, 'l1');
    scans.run(late, 'l2');
    for (let at = 0; at < 6; at += 1) await scans.endOne();
    expect(scans.begun).toEqual(['g0', 'g1', 'l1', 'g2', 'l2', 'g3']);
    expect(scans.slots.waitingCount).toBe(0);
  });
});
