import { timestamp } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import type { VersionRecord } from './record.js';
import { hashName, NO_PLACE, RowTable } from './row-table.js';

const rowOf = (sequence: number): VersionRecord => ({
  timestamp: timestamp(1),
  sequence,
  expiry: timestamp(0),
  tombstone: false,
  kind: 0,
  value: Buffer.from(String(sequence)),
});

/** Few hashes for many names, so that searches go on from slot to slot and over the end. */
const crowded = (name: string): number => 0xffff_fffc + (hashName(name) % 4);

describe('the table of rows', () => {
  it.each([
    ['spread', hashName],
    ['crowded', crowded],
  ])('finds what a map would, names %s', (_, hashOf) => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 60 }), dice: fc.integer({ min: 0, max: 99 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new RowTable();
        const model = new Map<string, number>();
        for (const [at, { key, dice }] of steps.entries()) {
          const name = `k${key}`;
          const hash = hashOf(name);
          const place = table.find(name, hash);
          expect(place === NO_PLACE ? undefined : table.read(place).sequence).toBe(model.get(name));
          if (dice === 0) {
            table.clear();
            model.clear();
          } else if (place === NO_PLACE) {
            table.add(name, hash, rowOf(at));
            model.set(name, at);
          } else if (dice < 50) {
            table.remove(hash, place);
            model.delete(name);
          }
          expect(table.size).toBe(model.size);
        }
        const rows = new Map<string, number>();
        table.forEach((name, hash, place) => {
          expect(hash).toBe(hashOf(name));
          rows.set(name, table.read(place).sequence);
        });
        expect(rows).toEqual(model);
      }),
      { seed: 20_261_128, numRuns: 300 },
    );
  });

  it('grows with its rows, and not with those that were removed', () => {
    const table = new RowTable();
    for (let round = 0; round < 20; round += 1) {
      for (let key = 0; key < 1_000; key += 1) table.add(`k${key}`, hashName(`k${key}`), rowOf(round));
      expect(table.size).toBe(1_000);
      table.forEach((_, hash, place) => {
        table.remove(hash, place);
      });
      expect(table.size).toBe(0);
    }
    for (let key = 0; key < 20_000; key += 1) table.add(`k${key}`, hashName(`k${key}`), rowOf(key));
    for (let key = 0; key < 20_000; key += 1) {
      const place = table.find(`k${key}`, hashName(`k${key}`));
      expect(table.read(place).sequence).toBe(key);
    }
    expect(table.find('k20000', hashName('k20000'))).toBe(NO_PLACE);
  });
});
