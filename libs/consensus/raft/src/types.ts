import type { LogIndex, ReplicaId, Term } from '@cairn/base';

/** What an entry means to the host. Numbers are written to disk: append only. */
export const EntryKind = {
  /** Opens a leader's term; empty payload. */
  noop: 0,
  /** The host's command bytes. */
  command: 1,
  /** A membership change, encoded by `encodeConfigChange`. */
  config: 2,
} as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

/**
 * One log entry. `payload` and `record` are immutable once the entry exists; they may be views of a larger
 * network or log buffer. `record` is the whole log record, header and payload (owned by `@cairn/raft-log`),
 * made once and used for the log and for every follower; the core never reads it.
 */
export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly kind: EntryKind;
  readonly payload: Uint8Array;
  record?: Uint8Array | undefined;
}

/** What survives a restart, besides the entries. */
export interface HardState {
  readonly term: Term;
  /** The replica voted for in `term`; 0 = none. */
  readonly vote: ReplicaId;
  /** A lower bound of the commit index; may lag. */
  readonly commit: LogIndex;
}

/** Who votes. `outgoing` is empty outside a joint configuration. */
export interface ConfigState {
  readonly voters: readonly ReplicaId[];
  /** The old majority of a joint configuration. */
  readonly outgoing: readonly ReplicaId[];
  readonly learners: readonly ReplicaId[];
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly ReplicaId[];
}

/** The last entry a snapshot covers, and the members as of it. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly config: ConfigState;
}

/**
 * Read access to the log; the core's only view of storage. Synchronous: what is not in memory answers
 * `loading`, the host fetches it and then calls `RaftNode.entriesLoaded(to)`.
 */
export interface RaftStorage {
  /** Index of the first entry that can be read; one past the truncated prefix. */
  firstIndex(): LogIndex;
  lastIndex(): LogIndex;
  /** Term of an entry in [firstIndex - 1, lastIndex]; `compacted` below. */
  termOf(index: LogIndex): Term | 'compacted';
  /** Entries [from, toExclusive), at least one, then as many as fit in bytesMax. */
  entries(
    from: LogIndex,
    toExclusive: LogIndex,
    bytesMax: number,
  ): readonly Entry[] | 'compacted' | 'loading';
}

/**
 * What the host's own heartbeats have told it of other stores, for the members that they stand for (see
 * `RaftNode.support` and `RaftNode.setSupported`). The core asks at the moment it decides: whether a vote is
 * held, until when its lease lasts, since when a member is silent whose support ends. Answers are pure and
 * immediate, on the clock of `nowMs`; -Infinity = never. Asked only while the core counts on the support. The
 * one thing that the core says by itself is that it gives support no longer.
 */
export interface RaftContact {
  /**
   * Follower: when the store of the leader that it supports was last heard. The vote is held from then on, so
   * as long as the support lasts this never goes back.
   */
  leaderHeardAtMs(): number;
  /**
   * Follower: the support has just ended, whatever ended it, and `leaderHeardAtMs` is not asked any more. The
   * host tells the leader's store before it answers another heartbeat of it: no lease may rest on that
   * answer. Called in the middle of an input; the host takes note, and gives the core no other input
   * meanwhile.
   */
  supportEnded(): void;
  /**
   * Leader: when the store of a member that supports it last answered a heartbeat. The quorum is checked by
   * it.
   */
  memberHeardAtMs(replicaId: ReplicaId): number;
  /**
   * Leader: the newest heartbeat that this store answered, by when it was sent, in whole milliseconds,
   * rounded down. The member held its vote anew after that; the lease is counted from here.
   */
  memberAckedSentAtMs(replicaId: ReplicaId): number;
}

/** One operation of a membership change. */
export interface ConfigOperation {
  readonly type: 'add-voter' | 'add-learner' | 'remove';
  readonly replicaId: ReplicaId;
}

/**
 * A membership change. One operation that touches no majority (a learner added or removed) is simple;
 * everything else enters a joint configuration, which the leader leaves by itself once it is committed. A
 * voter is never removed directly: demote it to learner first (`add-learner`), then remove it.
 */
export interface ConfigChange {
  readonly operations: readonly ConfigOperation[];
  /** Leave the joint configuration; proposed by the core itself. */
  readonly leaveJoint: boolean;
  /** Opaque to the core; the host's descriptor change that goes with it. */
  readonly context: Uint8Array;
}

export type MessageType =
  | 'pre-vote'
  | 'pre-vote-response'
  | 'vote'
  | 'vote-response'
  | 'append'
  | 'append-response'
  | 'heartbeat'
  | 'heartbeat-response'
  | 'snapshot'
  | 'timeout-now'
  | 'read-index'
  | 'read-index-response';

/** Fields that every message has. `term` 0 never leaves a node. */
interface MessageBase {
  readonly from: ReplicaId;
  readonly to: ReplicaId;
  readonly term: Term;
}

export interface VoteRequest extends MessageBase {
  readonly type: 'pre-vote' | 'vote';
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** Set when the candidacy comes from a leadership transfer: the lease promise does not stop it. */
  readonly transfer: boolean;
}
export interface VoteResponse extends MessageBase {
  readonly type: 'pre-vote-response' | 'vote-response';
  readonly granted: boolean;
}
export interface AppendRequest extends MessageBase {
  readonly type: 'append';
  readonly previousIndex: LogIndex;
  readonly previousTerm: Term;
  readonly commit: LogIndex;
  readonly entries: readonly Entry[];
  /** Leader's monotonic clock when it was made; echoed by the response, feeds the lease. */
  readonly sentAtMs: number;
}
export interface AppendResponse extends MessageBase {
  readonly type: 'append-response';
  /** Accepted: the last index known durable and matching. Rejected: the previousIndex that did not match. */
  readonly index: LogIndex;
  readonly rejected: boolean;
  /** On rejection: where the follower suggests to continue, and the term it has there. */
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
  readonly sentAtMs: number;
}
export interface HeartbeatRequest extends MessageBase {
  readonly type: 'heartbeat';
  /** Never above the follower's match. */
  readonly commit: LogIndex;
  /** Identifies the batch of reads that this round confirms; 0 = none. */
  readonly readContext: number;
  readonly sentAtMs: number;
}
export interface HeartbeatResponse extends MessageBase {
  readonly type: 'heartbeat-response';
  readonly readContext: number;
  readonly sentAtMs: number;
}
/** Tells the host to stream a snapshot; the data itself travels outside the core. */
export interface SnapshotRequest extends MessageBase {
  readonly type: 'snapshot';
  readonly meta: SnapshotMeta;
}
export interface TimeoutNow extends MessageBase {
  readonly type: 'timeout-now';
}
/** A follower asks its leader for a read index. */
export interface ReadIndexRequest extends MessageBase {
  readonly type: 'read-index';
  readonly context: number;
}
export interface ReadIndexResponse extends MessageBase {
  readonly type: 'read-index-response';
  readonly context: number;
  readonly index: LogIndex;
  /** The asked replica does not lead (or cannot confirm it yet): ask again later. */
  readonly refused: boolean;
}

export type Message =
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | HeartbeatRequest
  | HeartbeatResponse
  | SnapshotRequest
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexResponse;

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

export interface RaftConfig {
  readonly id: ReplicaId;
  /**
   * A follower that hears nothing for this long plus a jitter of [0, electionJitterMs) campaigns. Default
   * 600.
   */
  readonly electionTimeoutMs: number;
  readonly electionJitterMs: number;
  /** Default 150. Must be less than half of electionTimeoutMs. */
  readonly heartbeatIntervalMs: number;
  /**
   * The leader may serve reads from its lease for this long after the send time of what a quorum
   * acknowledged. Must be below voteHoldMs by a drift margin of at least 10 %. Default 400.
   */
  readonly leaseDurationMs: number;
  /**
   * A replica that heard from a leader (or started) refuses votes for this long, except in a transfer.
   * At most electionTimeoutMs. Default 500.
   */
  readonly voteHoldMs: number;
  /** Largest sum of payload bytes in one append. Default 1 MiB. */
  readonly appendBytesMax: number;
  /** Unacknowledged appends per follower: count (default 256) and payload bytes (default 8 MiB). */
  readonly inflightCountMax: number;
  readonly inflightBytesMax: number;
  /** Payload bytes proposed and not yet committed, above which proposals are refused. Default 64 MiB. */
  readonly uncommittedBytesMax: number;
  /** Payload bytes of committed entries handed out by one Ready. Default 4 MiB. */
  readonly committedBytesPerReadyMax: number;
}

/** Everything the host has to do. Taken with `takeReady`; see the README for the order. */
export interface Ready {
  /** Counts up; given back to `persisted`. */
  readonly sequence: number;
  /** Present when term, vote or commit changed. */
  readonly hardState: HardState | undefined;
  /** Entries to append; the first one replaces any stored suffix from its index on. */
  readonly entries: readonly Entry[];
  /** The host must sync hardState and entries before `persisted`; false when only the commit index moved. */
  readonly mustSync: boolean;
  /** May leave at once, also while the sync of this Ready is in flight. */
  readonly messages: readonly Message[];
  /** Must leave only once this Ready (and all earlier ones) are durable. */
  readonly messagesAfterPersist: readonly Message[];
  /** Committed and locally durable entries to apply, in order; handed out once. */
  readonly committed: readonly Entry[];
  /** Received and accepted: the host installs the snapshot, then calls `snapshotInstalled`. */
  readonly snapshot: SnapshotMeta | undefined;
  /** Reads that may be served once `index` is applied. */
  readonly reads: readonly {
    readonly context: number;
    readonly index: LogIndex;
    readonly refused: boolean;
  }[];
  /** Present when role, leader or term changed. */
  readonly state: SoftState | undefined;
  /** Entries that storage answered `loading` for: the host loads them, then calls `entriesLoaded(to)`. */
  readonly loads: readonly EntriesLoad[];
}

/** A request to bring entries back into memory. `to` = the own id when they are wanted for applying. */
export interface EntriesLoad {
  readonly to: ReplicaId;
  readonly from: LogIndex;
  readonly toExclusive: LogIndex;
  readonly bytesMax: number;
}

export interface SoftState {
  readonly role: Role;
  /** 0 = unknown. */
  readonly leaderId: ReplicaId;
  readonly term: Term;
}

export type ProposeResult =
  | { readonly type: 'accepted'; readonly index: LogIndex; readonly term: Term }
  | {
      readonly type: 'refused';
      readonly reason: 'not-leader' | 'transferring' | 'too-many-uncommitted' | 'not-a-member';
    };

export type ConfigChangeResult =
  | { readonly type: 'accepted'; readonly index: LogIndex; readonly term: Term }
  | {
      readonly type: 'refused';
      readonly reason:
        | 'not-leader'
        | 'transferring'
        | 'change-pending'
        | 'illegal-change'
        | 'too-few-recent-voters'
        | 'learner-behind';
    };

/**
 * How the leader sees one follower. `probe`: one append at a time; `replicate`: pipelined; `snapshot`:
 * waiting for one.
 */
export interface PeerProgress {
  readonly replicaId: ReplicaId;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  readonly match: LogIndex;
  readonly next: LogIndex;
  readonly isLearner: boolean;
  /** Heard from within the last election timeout. */
  readonly recentlyActive: boolean;
  readonly pendingSnapshotIndex: LogIndex;
}

export type TransferResult =
  | { readonly type: 'accepted' }
  | {
      readonly type: 'refused';
      readonly reason:
        'not-leader' | 'transferring' | 'not-a-voter' | 'already-leader' | 'not-recently-active';
    };

/** A picture of the node for operators, placement and tests; built on request. */
export interface RaftStatus {
  readonly id: ReplicaId;
  readonly role: Role;
  readonly term: Term;
  /** 0 = none. */
  readonly vote: ReplicaId;
  /** 0 = unknown. */
  readonly leaderId: ReplicaId;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** Everything up to here is known durable on this replica. */
  readonly durableIndex: LogIndex;
  readonly config: ConfigState;
  /** See `RaftNode.isQuiescent`. */
  readonly isQuiescent: boolean;
  /** 0 = no transfer under way. */
  readonly transferTarget: ReplicaId;
  /** -Infinity without a lease. */
  readonly leaseExpiresAtMs: number;
  /** Index of the last membership change that may not be applied here yet. */
  readonly pendingConfigIndex: LogIndex;
  /** Followers, as the leader sees them; empty elsewhere. */
  readonly peers: readonly PeerProgress[];
}
