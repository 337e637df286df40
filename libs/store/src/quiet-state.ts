import type { LogIndex, RangeId, ReplicaId, StoreId, Term } from '@cairn/base';
import type { QuietAnswer, QuietRange } from '@cairn/wire';

import type { Replica } from './replica.js';

/** What is known of one other store, for all quiet ranges that are shared with it. */
export class QuietPeer {
  readonly storeId: StoreId;
  /** Of our frames to that store; see `StoreHeartbeat.generation`. */
  generation: number;
  /** Of the last frame that came from there; 0 = none yet. */
  theirGeneration = 0;
  /** When its last heartbeat came: the votes of `followers` are held from then on. */
  heardAtMs = -Infinity;
  /** As `heardAtMs`, but silence of this process's own making is not counted against the other store. */
  judgedFromMs = -Infinity;
  /**
   * The newest heartbeat of ours that it answered, by our clock at sending: what `leaders` have leases from.
   */
  ackedSentAtMs = -Infinity;
  answeredAtMs = -Infinity;
  /** The heartbeat of that store to answer; 0 = none. */
  echoSentAtMs = 0;
  /** Quiet replicas here whose leader is there: we vouch for them. */
  readonly followers = new Set<Replica>();
  /** Leaders here that are quiet, or ask to be, with a member there: that store vouches for those. */
  readonly leaders = new Set<Replica>();
  /** News for the next frame; at most one item per replica and kind. */
  asks: QuietRange[] = [];
  answers: QuietAnswer[] = [];
  woken: RangeId[] = [];

  constructor(storeId: StoreId, generation: number) {
    this.storeId = storeId;
    this.generation = generation;
  }

  get hasNews(): boolean {
    return this.asks.length + this.answers.length + this.woken.length > 0 || this.echoSentAtMs > 0;
  }
}

/** A member of a quiet range that this store leads, and the store that vouches for it. */
export interface Vouched {
  readonly replicaId: ReplicaId;
  readonly peer: QuietPeer;
}

/** A replica that is awake has no state of this kind. */
export type QuietState =
  /** The leader wants to go quiet and waits for the members that are alive. */
  | {
      readonly kind: 'asking';
      readonly term: Term;
      readonly index: LogIndex;
      readonly sinceMs: number;
      readonly members: readonly Vouched[];
      readonly missing: Set<StoreId>;
      readonly absent: readonly StoreId[];
    }
  /** Members on `absent` stores were not alive: the range wakes when one of those comes back. */
  | { readonly kind: 'leading'; readonly members: readonly Vouched[]; readonly absent: readonly StoreId[] }
  | { readonly kind: 'following'; readonly peer: QuietPeer };

/**
 * Tells the core of a quiet replica what the heartbeats of the stores have meant for it so far. Due before
 * anything wakes it: the hold of its vote, and what its lease rests on, are only kept per store meanwhile.
 */
export function applyContact(replica: Replica, nowMs: number): void {
  const state = replica.quietState;
  if (state === undefined) return;
  switch (state.kind) {
    case 'asking':
      return;
    case 'leading':
      for (const { replicaId, peer } of state.members) {
        replica.raft.recordPeerContact(replicaId, peer.ackedSentAtMs, nowMs);
      }
      return;
    case 'following':
      replica.raft.recordLeaderContact(state.peer.heardAtMs, nowMs);
  }
}
