import type { RangeId, ReplicaId, StoreId, Term } from '@cairn/base';

import type { Replica } from './replica.js';
import { partsOf, type Store } from './store.js';

/** Replicas that a view describes, those with something under way first. */
export const DESCRIBED_REPLICAS_MAX = 256;
/** Other stores that it describes. */
const DESCRIBED_STORES_MAX = 64;

export interface ReplicaDebugView {
  readonly rangeId: RangeId;
  readonly replicaId: ReplicaId;
  readonly isLeader: boolean;
  readonly term: Term;
  readonly isQuiescent: boolean;
  /** `Replica.toString`: at most nineteen lines. */
  readonly text: string;
}

/** A store at one moment, for people; data that JSON can carry. */
export interface StoreDebugView {
  readonly storeId: StoreId;
  /** It was closed, or has failed. */
  readonly isOver: boolean;
  /** All replicas that take part, also those that are not described. */
  readonly replicaCount: number;
  readonly quiescentCount: number;
  /** Replicas that wait for room, see `HeldReplicas`. */
  readonly heldCount: number;
  readonly logStagedBytes: number;
  readonly applyBacklogBytes: number;
  readonly inboundWaitingBytes: number;
  /** How long the disk has not finished a write of the log. */
  readonly logHangsMs: number;
  readonly isOutOfRoom: boolean;
  readonly replicas: readonly ReplicaDebugView[];
  /** What was heard of other stores: a line each. */
  readonly stores: readonly string[];
}

function viewOf(replica: Replica): ReplicaDebugView {
  const { rangeId, replicaId, isLeader, term, raft } = replica;
  return { rangeId, replicaId, isLeader, term, isQuiescent: raft.isQuiescent, text: String(replica) };
}

/** Describes the store as it is now. Changes nothing; costs about as much as a tick of every replica. */
export function debugView(store: Store): StoreDebugView {
  const { backlog, disk, heartbeats, held, inbound, life, log, replicas } = partsOf(store);
  const busy: Replica[] = [];
  const quiescent: Replica[] = [];
  for (const replica of replicas) (replica.raft.isQuiescent ? quiescent : busy).push(replica);
  const described = [...busy, ...quiescent].slice(0, DESCRIBED_REPLICAS_MAX);
  return {
    storeId: store.storeId,
    isOver: life.isOver,
    replicaCount: replicas.size,
    quiescentCount: quiescent.length,
    heldCount: held.size,
    logStagedBytes: log.stagedBytes,
    applyBacklogBytes: backlog.bytes,
    inboundWaitingBytes: inbound.waitingBytes,
    logHangsMs: disk.hangsMs,
    isOutOfRoom: disk.isOutOfRoom,
    replicas: described.map(viewOf),
    stores: [...heartbeats.peers].slice(0, DESCRIBED_STORES_MAX).map(String),
  };
}

/** The view as lines. */
export function debugText(view: StoreDebugView): string {
  const { replicas, stores, replicaCount, quiescentCount } = view;
  const { logStagedBytes, applyBacklogBytes, inboundWaitingBytes } = view;
  const bytes = `staged=${logStagedBytes} backlog=${applyBacklogBytes} inbound=${inboundWaitingBytes}`;
  const marks = [
    view.isOver ? 'over' : '',
    view.heldCount > 0 ? `held=${view.heldCount}` : '',
    view.isOutOfRoom ? 'out-of-room' : '',
    view.logHangsMs > 0 ? `disk-hangs=${Math.round(view.logHangsMs)}` : '',
  ];
  const head = `store ${view.storeId} replicas=${replicaCount} quiescent=${quiescentCount} ${bytes}`;
  const more = replicaCount - replicas.length;
  return [
    [head, ...marks.filter((mark) => mark !== '')].join(' '),
    ...stores.map((line) => `  ${line}`),
    ...replicas.map(({ text }) => `  ${text.replaceAll('\n', '\n  ')}`),
    ...(more > 0 ? [`  +${more} replicas`] : []),
  ].join('\n');
}
