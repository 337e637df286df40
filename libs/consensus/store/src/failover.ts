import type { RangeId, ReplicaId, StoreId, Term } from '@cairn/base';
import type { RaftNode } from '@cairn/raft';

/**
 * Ranges of one lost store that elect at the same time. Elections of thousands at once take longer than their
 * timers allow, and begin over and over.
 */
const ELECTING_MAX = 256;
/** An election that takes longer does not hold up the others. */
const ELECTION_MS_MAX = 2_000;
/** Members further down the order campaign this much later: the one before them may lack entries. */
const RANK_DELAY_MS = 150;

/** What is asked of a replica that looks for another leader. */
export interface ElectingReplica {
  readonly rangeId: RangeId;
  readonly replicaId: ReplicaId;
  readonly raft: Pick<RaftNode, 'term' | 'leaderId' | 'configState'>;
  /** Removed from the store. */
  readonly isClosed: boolean;
  /** 0 = unknown. */
  storeOf(member: ReplicaId): StoreId;
}

interface Election<Replica> {
  readonly replica: Replica;
  readonly term: Term;
  readonly beganMs: number;
}

/**
 * How the ranges that a silent store led find other leaders: some at a time, and of each range one member
 * first. All stores come to the same order of members without talking, different from range to range, so
 * that the leaders spread over the stores that are left.
 *
 * Timeline: docs/timelines/failover.md
 */
export class Failover<Replica extends ElectingReplica> {
  /** Those whose turn comes next are at the end. */
  #waiting: { readonly replica: Replica; readonly rank: number }[] = [];
  #electing: Election<Replica>[] = [];

  get isUnderWay(): boolean {
    return this.#waiting.length > 0;
  }

  /** Lines up the ranges: first those that this store is to lead. */
  begin(replicas: Iterable<Replica>, isGone: (storeId: StoreId) => boolean): void {
    this.#waiting = [];
    for (const replica of replicas) this.#waiting.push({ replica, rank: rankOf(replica, isGone) });
    this.#waiting.sort((one, other) => other.rank - one.rank);
  }

  /** The store is back: what has not begun need not. */
  stop(): void {
    this.#waiting = [];
  }

  /** Begins as many elections as there is room for; `start` answers false when one is not needed any more. */
  advance(nowMs: number, start: (replica: Replica, delayMs: number) => boolean): void {
    this.#electing = this.#electing.filter((election) => isUnderWay(election, nowMs));
    while (this.#electing.length < ELECTING_MAX) {
      const next = this.#waiting.pop();
      if (next === undefined) return;
      const { replica, rank } = next;
      const { term } = replica.raft;
      if (start(replica, rank * RANK_DELAY_MS)) this.#electing.push({ replica, term, beganMs: nowMs });
    }
  }
}

function isUnderWay({ replica, term, beganMs }: Election<ElectingReplica>, nowMs: number): boolean {
  const { raft } = replica;
  const isLed = raft.term > term && raft.leaderId !== 0;
  return !isLed && !replica.isClosed && nowMs - beganMs < ELECTION_MS_MAX;
}

/** Spreads ids that are a fixed distance apart; of 2^32 over the golden ratio (Knuth, volume 3, 6.4). */
const GOLDEN = 0x9e3779b1;

/** The place of this replica among the voters that are left, counted from one that the range's id picks. */
function rankOf(replica: ElectingReplica, isGone: (storeId: StoreId) => boolean): number {
  const voters = replica.raft.configState.voters.filter((id) => !isGone(replica.storeOf(id)));
  const at = voters.indexOf(replica.replicaId);
  if (at < 0) return voters.length;
  return (at + (Math.imul(replica.rangeId, GOLDEN) >>> 16)) % voters.length;
}
