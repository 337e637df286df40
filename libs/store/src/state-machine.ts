import type { LogIndex, ReplicaId, StoreId, Term } from '@cairn/base';
import type { EngineBatch } from '@cairn/engine';
import type { Entry } from '@cairn/raft';

/** A span of engine keys, end exclusive. */
export interface EngineSpan {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/**
 * What a shard group replicates. All durable state lives in engine keys inside `spans()`; memory holds only what can
 * be rebuilt from them, or what `volatileState` carries. The store calls everything from its loop, never concurrently.
 *
 * Entries may be applied again after a crash, on an engine that already holds the effects of some of them: commands must
 * be physical (puts and deletes with fixed keys and values), so that the last application decides.
 */
export interface StateMachine {
  /** Once, before the first apply: loads memory from the engine. */
  open(): Promise<void>;
  /**
   * In log order, once committed and durable here. Adds the engine writes to the batch; changes that readers can see wait
   * for `published`. What it returns goes to the proposer, if it waits here.
   */
  apply(entry: Entry, batch: EngineBatch): unknown;
  /** The engine holds everything up to and including `index`. */
  published(index: LogIndex): void;
  /** This replica leads, and has applied everything of earlier terms. */
  leadershipGained(term: Term): void;
  leadershipLost(): void;
  /** Engine keys that make up the state; snapshots copy exactly these rows. */
  spans(): readonly EngineSpan[];
  /** State besides the rows that a snapshot must carry (recent request ids, for instance); at most 16 MiB. */
  volatileState(): Uint8Array;
  /** After the rows of a snapshot replaced the spans: reload memory. */
  restored(volatileState: Uint8Array): Promise<void>;
}

/** How a service in the same process uses its shard group. */
export interface ReplicaGroup {
  readonly isLeader: boolean;
  readonly term: Term;
  /** 0 = unknown. */
  readonly leaderReplicaId: ReplicaId;
  readonly leaderStoreId: StoreId;
  /**
   * Replicates a command and resolves with what `apply` returned here, after the engine holds it.
   * Rejects with NOT_LEADER (surely not applied), RESOURCE_EXHAUSTED (queue full, surely not applied) or OUTCOME_UNKNOWN
   * (leadership was lost while it was on its way).
   */
  propose(command: Uint8Array): Promise<unknown>;
  /** Resolves when reads of the state machine's memory are linearizable; rejects NOT_LEADER, or UNAVAILABLE when no quorum answers. */
  readBarrier(): Promise<void>;
  /** Called on every change of leadership here; returns a function that unsubscribes. */
  onLeadership(listener: (isLeader: boolean, term: Term) => void): () => void;
}
