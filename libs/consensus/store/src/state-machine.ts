import type { LogIndex, RangeDescriptor, RangeId, ReplicaId, StoreId, Term } from '@cairn/base';
import type { EngineBatch } from '@cairn/engine';
import type { Entry, ProposeResult } from '@cairn/raft';

/** A span of engine keys, end exclusive. */
export interface EngineSpan {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** Longest state besides the rows that a snapshot can carry. */
export const VOLATILE_STATE_BYTES_MAX = 16 * 1024 * 1024;

/**
 * What a shard group replicates. All durable state lives in engine keys inside `spans()`; memory holds only
 * what can be rebuilt from them, or what `volatileState` carries. The store calls everything from its loop,
 * never concurrently.
 *
 * Entries may be applied again after a crash, on an engine that already holds the effects of some of them:
 * commands must be physical (puts and deletes with fixed keys and values), so that the last application
 * decides. The first byte of a command is never `STORE_COMMAND_TAG`.
 */
export interface StateMachine {
  /** Once, before the first apply: loads memory from the engine. */
  open(): Promise<void>;
  /**
   * In log order: these are decided, and will be handed to `apply` in this order, after this. What a leader
   * proposed may be acknowledged from here on.
   */
  committed?(entries: readonly Entry[]): void;
  /**
   * In log order, once committed and durable here. Adds the engine writes to the batch; changes that readers
   * can see wait for `published`. What it returns goes to the proposer, if it waits here.
   */
  apply(entry: Entry, batch: EngineBatch): unknown;
  /** The engine holds everything up to and including `index`. */
  published(index: LogIndex): void;
  /** This replica leads, and has applied everything of earlier terms. */
  leadershipGained(term: Term): void;
  /** Proposals that are still under way may or may not commit under another leader. */
  leadershipLost(): void;
  /** Engine keys that make up the state; snapshots copy exactly these rows. */
  spans(): readonly EngineSpan[];
  /** Of a row that a snapshot is about to copy: throws CORRUPTION when it is not what was written. */
  checkRow?(key: Buffer, value: Buffer): void;
  /**
   * State besides the rows that a snapshot must carry (recent request ids, for instance); at most
   * `VOLATILE_STATE_BYTES_MAX`.
   */
  volatileState(): Uint8Array;
  /**
   * The rows of a snapshot are being written: what of its volatile state must outlive a crash goes into the
   * batch, which is durable before the snapshot counts as installed.
   */
  restoring?(volatileState: Uint8Array, batch: EngineBatch): void;
  /** After the rows of a snapshot replaced the spans: reload memory. */
  restored(volatileState: Uint8Array): Promise<void>;

  /** Once, before `open`: the machine's way to its replica. */
  attach?(replica: ReplicaHandle): void;
  /**
   * The machine's share of a turn, after the replica's messages were stepped: evaluate what waits, propose.
   */
  turn?(nowMs: number): void;
  /**
   * After `open`: commands that the engine already covers but the log still holds, oldest first, to rebuild
   * memory.
   */
  remember?(entry: Entry): void;
  /** The descriptor changed (split, membership, snapshot). */
  descriptorChanged?(descriptor: RangeDescriptor): void;
  /** The range was cut: this machine keeps `left`; answers a machine, already open, for each child. */
  split?(left: RangeDescriptor, children: readonly RangeDescriptor[]): StateMachine[];
  /** The replica is gone from this store, or the process stops: answer everybody who waits. */
  closed?(): void;
}

/** What a state machine may ask of its replica. */
export interface ReplicaHandle {
  readonly rangeId: RangeId;
  readonly replicaId: ReplicaId;
  readonly descriptor: RangeDescriptor;
  readonly isLeader: boolean;
  /** Leads, and has applied an entry of its own term: the memory of the machine is current. */
  readonly isReadyLeader: boolean;
  readonly term: Term;
  /** 0 = unknown. */
  readonly leaderStoreId: StoreId;
  readonly appliedIndex: LogIndex;
  /** A split is on its way: evaluate nothing and serve nothing from the lease until it is applied. */
  readonly isFrozen: boolean;
  /** Why no stale read may be served here; undefined = one may. Asked when the view is taken. */
  readonly staleRefusal: string | undefined;
  /** Lease valid at `nowMs`; ask with a fresh clock after the data was read, never before. */
  hasLease(nowMs: number): boolean;
  propose(command: Uint8Array): ProposeResult;
  /**
   * Calls back once: true when reads of what is applied then are linearizable; false when refused. A replica
   * that does not lead asks its leader.
   */
  readIndex(callback: (confirmed: boolean) => void): void;
  /** As `readIndex`, but true only when this replica led when it was asked, and still did later. */
  confirmLeadership(callback: (confirmed: boolean) => void): void;
  /** Asks for a turn. */
  wake(): void;
}

/** How a service in the same process uses its shard group. */
export interface ReplicaGroup {
  readonly isLeader: boolean;
  readonly term: Term;
  /** 0 = unknown. */
  readonly leaderReplicaId: ReplicaId;
  readonly leaderStoreId: StoreId;
  /**
   * Replicates a command and resolves with what `apply` returned here, after the engine holds it. Rejects
   * with NOT_LEADER (surely not applied), RESOURCE_EXHAUSTED (queue full, surely not applied) or
   * OUTCOME_UNKNOWN (leadership was lost while it was on its way).
   */
  propose(command: Uint8Array): Promise<unknown>;
  /**
   * Resolves when reads of the state machine's memory are linearizable; rejects NOT_LEADER, or UNAVAILABLE
   * when no quorum answers.
   */
  readBarrier(): Promise<void>;
}
