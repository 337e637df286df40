import type { LogIndex, Term } from '@cairn/base';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';

import { LogView } from './log.js';
import { MemoryRaftStorage } from './testing/index.js';
import type { Entry } from './types.js';

/**
 * Against a plain array, with a storage that gets what is taken: terms, entries and borders must agree at
 * all times.
 */
test('the memory tail over storage reads like one array', () => {
  const action = fc.record({ kind: fc.nat(4), amount: fc.integer({ min: 1, max: 90 }) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), fc.constantFrom(50, 1_000_000), (actions, bytesMax) => {
      const storage = new MemoryRaftStorage();
      const log = new LogView(storage, bytesMax);
      const model: Entry[] = [];
      let term = 1;
      let handed = 0;
      let sequence = 0;
      for (const { kind, amount } of actions) {
        if (kind <= 1) {
          for (let count = 0; count < amount; count += 1) {
            const index = (model.length + 1) as LogIndex;
            const entry: Entry = { index, term: term as Term, kind: 1, payload: new Uint8Array(1) };
            log.append(entry);
            model.push(entry);
          }
        } else if (kind === 2) {
          sequence += 1;
          storage.stage({ sequence, entries: log.takeUnstaged(), hardState: undefined });
          log.durableIndex = log.stagedIndex;
        } else if (kind === 3) {
          handed = Math.min(handed + amount, log.durableIndex);
          log.release(handed);
        } else {
          const from = Math.max(handed + 1, model.length - amount);
          if (from > model.length) continue;
          log.truncateFrom(from);
          model.length = from - 1;
          term += 1;
        }
        expect([log.lastIndex, log.lastTerm]).toEqual([model.length, model.at(-1)?.term ?? 0]);
        for (let index = 1; index <= model.length; index += 7) {
          expect(log.termOf(index)).toBe(model[index - 1]?.term);
          const read = log.entries(index, model.length + 1, 5);
          expect(read[0]).toBe(model[index - 1]);
          expect(read.length).toBeLessThanOrEqual(5);
        }
      }
    }),
  );
});
