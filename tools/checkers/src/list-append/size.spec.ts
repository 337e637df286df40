import { describe, expect, it } from '@jest/globals';

import { namesIn, txn } from '../testing.js';
import type { Transaction } from '../transactions.js';
import { checkListAppend } from './check.js';
import { Edges } from './edges.js';
import { addProcessOrder, addRealTime } from './real-time.js';

const MANY = 12_000;

function many(transaction: (at: number) => Transaction, length = MANY): Transaction[] {
  return Array.from({ length }, (_, at) => transaction(at));
}

/** Whose number of steps would grow with the square of the history, or whose stack with its length. */
describe('list-append on long histories', () => {
  it('makes a few edges of real time each, however many run at once', () => {
    const first = many((at) => txn(0, MANY + at, '', `p${at}`));
    const second = many((at) => txn(2 * MANY + at / MANY, 3 * MANY, '', `q${at}`));
    const edges = new Edges(2 * MANY);
    addRealTime([...first, ...second], edges);
    addProcessOrder([...first, ...second], edges);
    expect(edges.sources.length).toBeLessThanOrEqual(3 * 2 * MANY);
    expect(namesIn([...first, ...second])).toEqual([]);
  });

  it('follows a chain of all transactions, and a cycle of all', () => {
    const readsBefore = (at: number): string => (at === 0 ? '' : `r k${at - 1} 1, `);
    const chain = many((at) => txn(0, 1, `${readsBefore(at)}a k${at} 1`, `p${at}`));
    expect(namesIn(chain)).toEqual([]);
    const cycle = [...chain.slice(1), txn(0, 1, `r k${MANY - 1} 1, a k0 1`, 'p0')];
    const { anomalies } = checkListAppend(cycle);
    expect(anomalies.map(({ name }) => name)).toEqual(['G1c']);
    expect(anomalies[0]?.explanation).toContain(`of ${MANY} transactions in all, back to T1`);
  });

  it('judges appends that nobody reads, and readers that miss all of them', () => {
    const few = MANY / 10;
    const lost = many((at) => txn(at, at + 0.5, `a x ${at}`, 'writer'), few);
    const readers = many((at) => txn(MANY + at, MANY + at + 0.5, 'r x', 'reader'), few);
    expect(namesIn([...lost, ...readers])).toEqual(['G-single-realtime']);
    expect(
      namesIn([...lost, ...readers.map((reader) => ({ ...reader, invokedMs: -1, process: 'r' }))]),
    ).toEqual([]);
    const updates = many((at) => txn(0, 1, `r x, a x ${at}`, `p${at}`), few);
    expect(namesIn(updates)).toContain('lost-update');
  });

  it('tells few of many anomalies, and counts all', () => {
    const pairs = many((at) =>
      txn(0, 1, at % 2 === 0 ? `r x${at}, a y${at} 1` : `r y${at - 1}, a x${at - 1} 1`, at),
    );
    const { anomalies, counts } = checkListAppend(pairs);
    expect(anomalies).toHaveLength(20);
    expect(counts.get('write-skew')).toBe(MANY / 2);
  });
});
