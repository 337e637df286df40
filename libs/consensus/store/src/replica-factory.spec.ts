import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, term } from '@cairn/base';
import type { Clock, Rng } from '@cairn/ports';
import { MemoryRaftStorage } from '@cairn/raft/testing';
import type { RaftLog } from '@cairn/raft-log';

import { configStateOf } from './membership.js';
import { buildReplica } from './replica-factory.js';
import { SpanIndex } from './span-index.js';
import { DEFAULT_STORE_CONFIG, validateStoreConfig } from './store-config.js';

describe('a replica that is opened', () => {
  it.each([
    ['the hard state', 5, 0],
    ['the checkpoint', 0, 5],
  ])('names the loss when the log ends before what was committed, by %s', (_, commit, applied) => {
    const storage = new MemoryRaftStorage();
    const hardState = { term: term(1), vote: replicaId(0), commit: logIndex(commit) };
    const log = Object.defineProperty(storage, 'hardState', { value: hardState });
    const around = {
      clock: { nowMs: () => 0 } as Clock,
      rng: { next: () => 0.5 } as Rng,
      config: DEFAULT_STORE_CONFIG,
      log: { range: () => log } as unknown as RaftLog,
      host: {
        ...{ enqueue: () => undefined, proposed: () => undefined, tookIn: () => undefined },
        ...{ isBehind: false, guardLeases: () => undefined },
      },
      spans: new SpanIndex<never>(),
    };
    const start = {
      ...{
        rangeId: rangeId(7),
        replicaId: replicaId(1),
        descriptor: undefined,
        config: configStateOf(undefined),
      },
      ...{ confVersionSeen: 0, appliedIndex: logIndex(applied), appliedTerm: term(0), isInitial: false },
    };
    expect(() => buildReplica(around, start)).toThrow(
      'the log of range 7 ends at entry 0, and entry 5 was committed here',
    );
  });

  it('has no timings that contradict each other: the start refuses them', () => {
    expect(() => {
      validateStoreConfig({ ...DEFAULT_STORE_CONFIG, leaseDurationMs: 490 });
    }).toThrow('leaseDurationMs 490 must be 10 % below voteHoldMs 500');
  });
});
