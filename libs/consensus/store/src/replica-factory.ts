import {
  CairnError,
  type LogIndex,
  type RangeDescriptor,
  type RangeId,
  type ReplicaDescriptor,
  type ReplicaId,
  type StoreId,
  type Term,
} from '@cairn/base';
import type { Clock, Rng } from '@cairn/ports';
import { RaftNode, type ConfigState } from '@cairn/raft';
import type { RaftLog, RangeLog } from '@cairn/raft-log';

import { encodeCheckpointState } from './checkpoint-state.js';
import { StoreContact } from './heartbeat-peer.js';
import { configStateOf } from './membership.js';
import { raftConfigFor } from './raft-config.js';
import { Replica, type ReplicaHost } from './replica.js';
import type { SpanIndex } from './span-index.js';
import type { StoreConfig } from './store-config.js';

export interface ReplicaSurroundings {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly config: StoreConfig;
  readonly log: RaftLog;
  readonly host: ReplicaHost;
  readonly spans: SpanIndex<Replica>;
}

/** Who a replica is and how far it is; hard state and entries are in the log. */
export interface ReplicaStart {
  readonly rangeId: RangeId;
  readonly replicaId: ReplicaId;
  readonly descriptor: RangeDescriptor | undefined;
  readonly config: ConfigState;
  /** See `Replica.confVersionSeen`. */
  readonly confVersionSeen: number;
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  readonly isInitial: boolean;
}

/**
 * The member that a store is of a range that is being created here. Throws FAILED_PRECONDITION: what a store
 * is told to create can be of another. What messages alone have made here gives way, whatever its id: anybody
 * can invent one.
 */
export function memberToCreate({ rangeId, replicas }: RangeDescriptor, storeId: StoreId): ReplicaDescriptor {
  const mine = replicas.find((member) => member.storeId === storeId);
  if (mine === undefined) {
    throw new CairnError('FAILED_PRECONDITION', `store ${storeId} is no member of range ${rangeId}`);
  }
  return mine;
}

/**
 * Throws CORRUPTION when the log ends before what it says was committed: the disk lost its end, or the
 * directory is a copy.
 */
function checkLogEnd(log: RangeLog, { rangeId, replicaId, appliedIndex }: ReplicaStart): void {
  const committed = Math.max(log.hardState?.commit ?? 0, appliedIndex);
  if (committed <= log.lastIndex()) return;
  throw new CairnError(
    'CORRUPTION',
    `the log of range ${rangeId} ends at entry ${log.lastIndex()}, and entry ${committed} was committed here: the ` +
      'disk has lost the end of it. Give the node an empty data directory and let its ranges be rebuilt from ' +
      'their other replicas.',
    { details: { rangeId, replicaId } },
  );
}

/** A replica with its core, as its log and the start say; its machine comes later. */
export function buildReplica(around: ReplicaSurroundings, start: ReplicaStart): Replica {
  const { clock, config, rng } = around;
  const { rangeId, replicaId, appliedIndex, appliedTerm } = start;
  const log = around.log.range(rangeId);
  checkLogEnd(log, start);
  const contact = new StoreContact();
  const raft = new RaftNode({
    config: raftConfigFor(replicaId, config),
    storage: log,
    contact,
    hardState: log.hardState,
    appliedIndex,
    configState: start.config,
    random: () => rng.next(),
    startedAtMs: clock.nowMs(),
    isInitial: start.isInitial,
  });
  const replica = new Replica({
    ...{ rangeId, replicaId, raft, contact, log, appliedIndex, appliedTerm },
    ...{ host: around.host, spans: around.spans },
    consistentAtIndex: log.lastIndex(),
  });
  replica.confVersionSeen = start.confVersionSeen;
  if (start.descriptor !== undefined) replica.setDescriptor(start.descriptor);
  return replica;
}

/** Stages the log of a replica without a state. What it promised before, if it was here, stays. */
export function beginEmptyLog(log: RangeLog, replicaId: ReplicaId, confVersionSeen: number): ReplicaStart {
  const nothing = { descriptor: undefined, config: configStateOf(undefined), confVersionSeen };
  log.setCheckpoint({
    index: 0 as LogIndex,
    term: 0 as Term,
    state: encodeCheckpointState({ replicaId, ...nothing, installing: undefined }),
  });
  const applied = { appliedIndex: 0 as LogIndex, appliedTerm: 0 as Term };
  return { rangeId: log.rangeId, replicaId, ...nothing, ...applied, isInitial: false };
}
