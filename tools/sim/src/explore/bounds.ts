/** How far an exploration goes. Within them it leaves nothing out. */
export interface Bounds {
  /** Voters, 1 .. 5. */
  readonly nodes: number;
  /** No replica enters a later term. */
  readonly terms: number;
  /** No log gets longer; each leader's no-op is an entry. */
  readonly entries: number;
  /** Restarts of replicas, of all together: what was not synced is lost. */
  readonly crashes: number;
  /** Election timeouts that pass at a replica, of all together. */
  readonly timeouts: number;
  /** Heartbeat intervals that pass at leaders, of all together. */
  readonly heartbeats: number;
  /** Reads that are asked for at leaders, of all together. */
  readonly reads: number;
  /**
   * Whether pre-votes are messages like all others. Otherwise each is granted at once, which leaves out no
   * state of an election, and replicas that differ in nothing but their ids are not told apart: only
   * pre-votes compare ids.
   */
  readonly hasPreVotes: boolean;
  /** More states are not kept: the exploration ends and says so. */
  readonly statesMax: number;
}

export const DEFAULT_BOUNDS: Bounds = {
  nodes: 3,
  terms: 2,
  entries: 3,
  crashes: 1,
  timeouts: 1,
  heartbeats: 0,
  reads: 0,
  hasPreVotes: false,
  statesMax: 30_000_000,
};
