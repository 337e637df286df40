import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { hashId, IdTable } from './id-table.js';

interface Held {
  readonly id: number;
  readonly sequence: number;
}

/** Few of them, near each other and with equal low bits, so that probes collide and wrap. */
const id = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 20 }).map((at) => at * 65_536),
  fc.constantFrom(2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1, 2 ** 31),
);
const step = fc.record({ kind: fc.constantFrom('set', 'set', 'delete', 'get', 'clear'), id });

describe('IdTable', () => {
  it('holds what a Map would, whatever is put in and taken out', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new IdTable<Held>();
        const model = new Map<number, Held>();
        steps.forEach(({ kind, id: key }, sequence) => {
          if (kind === 'set') {
            const held = { id: key, sequence };
            table.set(key, held);
            model.set(key, held);
          } else if (kind === 'delete') {
            expect(table.delete(key)).toBe(model.delete(key));
          } else if (kind === 'clear' && sequence % 7 === 0) {
            table.clear();
            model.clear();
          }
          expect(table.get(key)).toBe(model.get(key));
          expect(table.has(key)).toBe(model.has(key));
          expect(table.size).toBe(model.size);
        });
        for (const [key, held] of model) expect(table.get(key)).toBe(held);
        const ids = [...model.keys()].sort((one, other) => one - other);
        expect(table.sorted().map((held) => held.id)).toEqual(ids);
        const visited = new Set<Held>();
        table.forEach((held) => visited.add(held));
        expect(visited).toEqual(new Set(model.values()));
      }),
      { seed: 20_261_121, numRuns: 500 },
    );
  });

  it('spreads ids anew that were chosen to collide, and no others', () => {
    const table = new IdTable<Held>(0x2545f491);
    const model = new Map<number, Held>();
    const add = (each: number): void => {
      const held = { id: each, sequence: 0 };
      table.set(each, held);
      model.set(each, held);
    };
    for (let each = 0; each < 10_000; each += 1) add(each);
    expect(table.isDefended).toBe(false);
    for (let each = 1; each < 200; each += 1) add(each * 2 ** 32);
    expect(table.isDefended).toBe(true);
    for (let each = 1; each < 10_000; each += 1) add(each * 2 ** 31);
    for (const [each, held] of model) expect(table.get(each)).toBe(held);
    expect(table.size).toBe(model.size);
    for (const each of model.keys()) expect(table.delete(each)).toBe(true);
    expect(table.size).toBe(0);
  });

  it('has ids that were chosen to collide under one seed far apart under another', () => {
    const slotsOf = (ids: readonly number[], seed: number): number =>
      new Set(ids.map((each) => hashId(each, seed) & 1023)).size;
    const neighbours = Array.from({ length: 2 ** 18 }, (_, at) => at);
    const above32 = Array.from({ length: 2 ** 18 }, (_, at) => at * 2 ** 32);
    for (const candidates of [neighbours, above32]) {
      const chosen = candidates.filter((each) => (hashId(each, 0) & 1023) === 0);
      expect(chosen.length).toBeGreaterThan(200);
      expect(slotsOf(chosen, 0)).toBe(1);
      expect(slotsOf(chosen, 0x2545f491)).toBeGreaterThan(chosen.length / 2);
    }
  });

  it('stays correct while ids count up for long with few of them open', () => {
    const table = new IdTable<Held>();
    for (let next = 1; next <= 20_000; next += 1) {
      table.set(next, { id: next, sequence: next });
      if (next > 300) expect(table.delete(next - 300)).toBe(true);
    }
    expect(table.size).toBe(300);
    expect(table.sorted().map((held) => held.id)).toEqual(
      Array.from({ length: 300 }, (_, at) => 19_701 + at),
    );
  });
});
