import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, storeId, term } from '@cairn/base';
import type { Message } from '@cairn/raft';

import { EarlyVotes } from './early-votes.js';

function ask(inTerm: number): Message {
  return {
    type: 'pre-vote',
    from: replicaId(1),
    to: replicaId(2),
    term: term(inTerm),
    lastIndex: logIndex(10),
    lastTerm: term(5),
    transfer: false,
  };
}

describe('what is kept of early requests for votes', () => {
  it('hands out the newest request of each sender, once', () => {
    const early = new EarlyVotes();
    early.keep(storeId(1), rangeId(7), ask(6), 100);
    early.keep(storeId(1), rangeId(7), ask(7), 200);
    early.keep(storeId(3), rangeId(7), ask(8), 300);
    early.keep(storeId(3), rangeId(9), ask(9), 300);
    expect(early.take(rangeId(7), 400).map(({ from, message }) => [from, message.term])).toEqual([
      [1, 7],
      [3, 8],
    ]);
    expect(early.take(rangeId(7), 400)).toEqual([]);
  });

  it('forgets what is too old, and ranges that are too many', () => {
    const early = new EarlyVotes();
    early.keep(storeId(1), rangeId(7), ask(6), 100);
    expect(early.take(rangeId(7), 2_101)).toEqual([]);
    for (let range = 1; range <= 257; range += 1) early.keep(storeId(1), rangeId(range), ask(6), 100);
    expect(early.take(rangeId(1), 100)).toEqual([]);
    expect(early.take(rangeId(2), 100)).toHaveLength(1);
  });
});
