import { describe, expect, it } from '@jest/globals';

import { CommitWatch } from './commits.js';
import { LeaderTerms } from './leaders.js';
import { digestOf, LogWatch, type SeenEntry, type SeenReplica } from './logs.js';

/** A log as `term payload` words, the first at index 1. */
function replica(node: string, log: string, more: Partial<SeenReplica> = {}): SeenReplica {
  const entries: SeenEntry[] = log.split(' ').map((word, at) => ({
    index: at + 1,
    term: Number(word.slice(0, -1)),
    digest: digestOf(1, Buffer.from(word.slice(-1))),
  }));
  return {
    group: 'range 1',
    node,
    life: 1,
    term: entries.at(-1)?.term ?? 0,
    isLeader: false,
    commitIndex: 0,
    appliedIndex: 0,
    durableIndex: entries.length,
    firstIndex: 1,
    lastIndex: entries.length,
    voters: [1, 2, 3],
    outgoing: [],
    entryAt: (index) => entries[index - 1],
    ...more,
  };
}

function faultsOf(...looks: SeenReplica[]): string[] {
  const watch = new LogWatch();
  return looks.flatMap((each) => watch.look(each)).map(({ checker }) => checker);
}

describe('leaders', () => {
  it('may change with the term, not within it', () => {
    const terms = new LeaderTerms();
    const took = [
      terms.took('range 1', 5, 'a'),
      terms.took('range 1', 6, 'b'),
      terms.took('range 2', 5, 'b'),
      terms.took('range 1', 6, 'b'),
    ];
    expect(took).toEqual([undefined, undefined, undefined, undefined]);
    expect(terms.took('range 1', 5, 'b')).toBe('range 1 in term 5: a and b');
  });
});

describe('logs', () => {
  it('may lag, fork above the commit index, and be replaced there', () => {
    expect(faultsOf(replica('a', '1a 1b 2c'), replica('b', '1a 1b'), replica('c', '1a 3x'))).toEqual([]);
    const committed = replica('b', '1a 3x', { commitIndex: 2, appliedIndex: 2 });
    expect(faultsOf(replica('a', '1a 1b'), committed, replica('a', '1a 3x', { commitIndex: 2 }))).toEqual([]);
  });

  it('hold one entry per index and term, with one before it', () => {
    expect(faultsOf(replica('a', '1a 1b'), replica('b', '1a 1c'))).toEqual(['log-matching']);
    expect(faultsOf(replica('a', '1a 2b 3c'), replica('b', '1a 1b 3c'))).toEqual(['log-matching']);
    expect(faultsOf(replica('a', '1a 1b'), replica('b', '1a 1c', { group: 'range 2' }))).toEqual([]);
  });

  it('keep what was committed', () => {
    const [a, b] = [replica('a', '1a 1b', { commitIndex: 2 }), replica('b', '1a 2c', { commitIndex: 2 })];
    expect(faultsOf(a, b)).toEqual(['state-machine-safety']);
    expect(faultsOf(a, replica('a', '1a 2c', { commitIndex: 2, life: 2 }))).toEqual(['state-machine-safety']);
    expect(faultsOf(a, replica('b', '1a 2c', { commitIndex: 1 }))).toEqual([]);
  });

  it('of leaders hold what was committed before', () => {
    const committed = replica('a', '1a 1b', { commitIndex: 2 });
    const leads = { isLeader: true, term: 3 };
    expect(faultsOf(committed, replica('b', '1a', leads))).toEqual(['leader-completeness']);
    expect(faultsOf(committed, replica('b', '1a 2x', leads))).toEqual(['leader-completeness']);
    expect(faultsOf(committed, replica('b', '1a 1b', leads))).toEqual([]);
    expect(faultsOf(committed, replica('b', '1a 1b', { ...leads, firstIndex: 3 }))).toEqual([]);
    // The leader of an old term that has not heard of the next one.
    const later = replica('a', '1a 4b', { commitIndex: 2 });
    expect(faultsOf(later, replica('b', '1a', leads))).toEqual([]);
  });

  it('are applied in order, no further than committed, and never back within a life', () => {
    const at = (appliedIndex: number, commitIndex: number, life = 1): SeenReplica =>
      replica('a', '1a 1b', { appliedIndex, commitIndex, life });
    expect(faultsOf(at(1, 2), at(2, 2), at(0, 1, 2))).toEqual([]);
    expect(faultsOf(at(2, 1))).toEqual(['applied-order']);
    expect(faultsOf(at(2, 2), at(1, 2))).toEqual(['applied-order']);
    expect(faultsOf(at(1, 2), at(1, 1))).toEqual(['applied-order']);
    expect(faultsOf(replica('a', '2a'), replica('a', '2a', { term: 1 }))).toEqual(['applied-order']);
  });
});

describe('commits', () => {
  const leader = (commitIndex: number, more: Partial<SeenReplica> = {}): SeenReplica =>
    replica('a', '1a 1b 1c', { isLeader: true, commitIndex, ...more });
  const disks =
    (...durable: (number | undefined)[]) =>
    (voter: number): number | undefined =>
      durable[voter - 1];

  it('are on the disks of a majority', () => {
    const watch = new CommitWatch();
    expect(watch.look(leader(1), disks(0, 0, 0))).toBeUndefined();
    expect(watch.look(leader(2), disks(2, 2, 0))).toBeUndefined();
    expect(watch.look(leader(3), disks(3, 2, 0))).toMatch(/committed 3, on disk only at 1 of 3 voters/);
  });

  it('need both majorities of a joint configuration, and are not judged while it changes', () => {
    const watch = new CommitWatch();
    const joint = { voters: [1, 2], outgoing: [3] };
    watch.look(leader(1), disks(1, 1, 1));
    expect(watch.look(leader(2, joint), disks(2, 2, 0))).toBeUndefined();
    expect(watch.look(leader(3, joint), disks(3, 3, 0))).toMatch(/0 of 1 voters/);
  });

  it('may be at voters nobody can look at', () => {
    const watch = new CommitWatch();
    watch.look(leader(1), disks(1, 1, 1));
    expect(watch.look(leader(2), disks(2, undefined, 0))).toBeUndefined();
  });
});
