import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import { encodeTransactionRow, Namespace, rowSpanIn, startOfTransactionKey } from '@cairn/mvcc';
import fc from 'fast-check';

import { bytes } from '../kv/kv-rig.testing.js';
import { lookAtRecords, type RecordBounds } from './record-looks.js';

/*
 * Goal: exactly the records and marks of transactions that began below a timestamp are found (T9), in parts
 * of any size. Method: random rows against a filter; the boundary by itself.
 */

const SPAN = rowSpanIn(Namespace.transactions, bytes(''), bytes(''));
const rowOf = (key: string, start: number, commit = 0): readonly [Buffer, Buffer] =>
  encodeTransactionRow(bytes(key), timestamp(start), timestamp(commit));

async function engineWith(rows: readonly (readonly [Buffer, Buffer])[]): Promise<MemoryEngine> {
  const engine = new MemoryEngine();
  const batch = engine.newBatch();
  for (const row of rows) batch.put(...row);
  if (rows.length > 0) await engine.write(batch);
  return engine;
}

const boundsOf = (below: number, ripeBelow: number, keysMax = 100): RecordBounds => ({
  ...{ below: timestamp(below), ripeBelow: timestamp(ripeBelow), keysMax },
});

describe('a look at records', () => {
  it('finds those that began below the bound and not at it, and tells what locks alone keep', async () => {
    const rows = [rowOf('a', 4), rowOf('a', 5, 9), rowOf('b', 6), rowOf('b', 7)];
    const found = await lookAtRecords(await engineWith(rows), SPAN, boundsOf(5, 7));
    const bytesOf = (row: readonly [Buffer, Buffer]): number => row[0].length + row[1].length;
    const [first, kept, blocked] = rows as [(typeof rows)[0], (typeof rows)[0], (typeof rows)[0]];
    expect(found).toEqual({
      ...{ keys: [first[0]], freedBytes: bytesOf(first), next: undefined, examined: 4 },
      blockedBytes: bytesOf(kept) + bytesOf(blocked),
    });
  });

  it('goes on where it ended, however few keys it may find, and misses none', async () => {
    const record = fc.tuple(fc.constantFrom('', 'a', 'a\0', 'b'), fc.integer({ min: 1, max: 9 }), fc.nat(1));
    await fc.assert(
      fc.asyncProperty(
        fc.array(record),
        fc.nat(10),
        fc.integer({ min: 1, max: 4 }),
        async (records, below, keysMax) => {
          const rows = records.map(([key, start, commit]) => rowOf(key, start, commit * (start + 1)));
          const engine = await engineWith(rows);
          const keys: string[] = [];
          let next: Buffer | undefined = SPAN.start;
          while (next !== undefined) {
            const span = { start: next, end: SPAN.end };
            const found = await lookAtRecords(engine, span, boundsOf(below, 0, keysMax));
            expect(found.keys.length).toBeLessThanOrEqual(keysMax);
            keys.push(...found.keys.map((key) => key.toString('hex')));
            next = found.next;
          }
          const expected = new Set(
            rows.filter(([key]) => startOfTransactionKey(key) < below).map(([key]) => key.toString('hex')),
          );
          expect(keys).toEqual([...expected].sort());
        },
      ),
      { numRuns: 200 },
    );
  });

  it('ends a page at the rows it has looked at, garbage or not', async () => {
    const rows = Array.from({ length: 10_001 }, (_, at) => rowOf('k', at + 1));
    const found = await lookAtRecords(await engineWith(rows), SPAN, boundsOf(0, 0));
    expect([found.examined, found.keys.length]).toEqual([10_000, 0]);
    expect(found.next).toBeDefined();
  });

  it('comes upon damage before it takes a record for garbage', async () => {
    const [key, record] = rowOf('k', 5);
    record[record.length - 1] = (record.at(-1) as number) ^ 1;
    const engine = await engineWith([[key, record]]);
    await expect(lookAtRecords(engine, SPAN, boundsOf(9, 9))).rejects.toMatchObject({ code: 'CORRUPTION' });
  });
});
