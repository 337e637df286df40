import { CairnError, type ReplicaId, type StoreId, type Term } from '@cairn/base';
import type { Clock } from '@cairn/ports';

import { notLeader } from './not-leader.js';
import type { Replica } from './replica.js';
import type { ReplicaGroup } from './state-machine.js';

/** Proposals of one service that may be under way at once; more are refused. */
const WAITERS_MAX = 10_000;
/** A read barrier that no quorum confirms within this long is given up. */
const READ_BARRIER_TIMEOUT_MS = 2_000;

/** The promise-based face of a replica, for services that live in the same process. */
export function groupOf(replica: Replica, clock: Clock): ReplicaGroup {
  return {
    get isLeader(): boolean {
      return replica.isReadyLeader;
    },
    get term(): Term {
      return replica.term;
    },
    get leaderReplicaId(): ReplicaId {
      return replica.leaderReplicaId;
    },
    get leaderStoreId(): StoreId {
      return replica.leaderStoreId;
    },
    propose: (command) => propose(replica, command),
    readBarrier: () => readBarrier(replica, clock),
  };
}

function propose(replica: Replica, command: Uint8Array): Promise<unknown> {
  if (replica.waiters.size >= WAITERS_MAX) {
    return Promise.reject(
      new CairnError('RESOURCE_EXHAUSTED', `${WAITERS_MAX} proposals are under way`, { retryAfterMs: 50 }),
    );
  }
  const result = replica.propose(command);
  if (result.type === 'refused') {
    if (result.reason === 'too-many-uncommitted') {
      return Promise.reject(
        new CairnError('RESOURCE_EXHAUSTED', 'too much is proposed and not committed yet', {
          retryAfterMs: 50,
        }),
      );
    }
    return Promise.reject(notLeader(replica));
  }
  return new Promise((resolve, reject) => {
    replica.waiters.set(result.index, {
      term: result.term,
      resolve,
      lost: () => {
        reject(new CairnError('OUTCOME_UNKNOWN', 'leadership was lost while the proposal was on its way'));
      },
    });
  });
}

function readBarrier(replica: Replica, clock: Clock): Promise<void> {
  if (!replica.isReadyLeader) return Promise.reject(notLeader(replica));
  if (replica.hasLease(clock.nowMs())) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(READ_BARRIER_TIMEOUT_MS, () => {
      reject(new CairnError('UNAVAILABLE', 'no quorum confirmed the read in time', { retryAfterMs: 50 }));
    });
    replica.readIndex((confirmed) => {
      timer.cancel();
      if (confirmed) resolve();
      else reject(notLeader(replica));
    });
  });
}
