import type { LogIndex, RangeId, Term } from '@cairn/base';
import type { Entry, HardState, RaftStorage } from '@cairn/raft';

/**
 * One append-only log for all ranges of a store, in segments. Everything appended between two syncs goes to
 * disk in one durable write. In-memory views (`RangeLog`) change at once; durability is reported by the
 * promise.
 */
export interface RaftLog {
  /** Ranges that have anything in the log, after recovery. */
  rangeIds(): RangeId[];
  /** The view of one range; created empty on first use. */
  range(rangeId: RangeId): RangeLog;
  /**
   * Writes everything staged since the last call with one durable write. Calls may overlap: while one write
   * is in flight, later calls join the next. Resolves when all that was staged before the call is durable;
   * rejects (and the log refuses further writes) when the disk fails. On a full disk it waits for room.
   */
  sync(): Promise<void>;
  /** The disk has no room for what is staged: it is tried again and again until there is, or `close`. */
  readonly isWaitingForRoom: boolean;
  /**
   * For how long the disk has not finished the write that is under way; 0 = none is, or it waits for room.
   */
  readonly writingMs: number;
  /** Record bytes that are staged or being written, and not durable yet. */
  readonly stagedBytes: number;
  /**
   * The disk is behind when `stagedBytes` reaches this. Whoever can refuse entries (a follower an append
   * before its core has taken it, a leader a proposal) refuses them then. What was taken before is still
   * staged; nothing that a core has taken is refused by the log.
   */
  readonly stagedBytesMax: number;
  /**
   * Stages marks of several ranges as one: a crash leaves all of them or none. Staged one by one, what comes
   * between two syncs may become durable up to any record.
   */
  setMarks(ranges: readonly RangeMarks[]): void;
  /** Removes all trace of a range; staged like the rest. */
  removeRange(rangeId: RangeId): void;
  /**
   * Frees segments whose records are all truncated or superseded, rewriting small live remains of old
   * segments. Returns ranges that pin old segments with live entries, so that the caller can force a
   * truncation.
   */
  reclaim(): Promise<RangeId[]>;
  /** Bytes on disk, segments, live bytes. */
  stats(): RaftLogStats;
  close(): Promise<void>;
}

export interface RaftLogStats {
  readonly segments: number;
  readonly diskBytes: number;
  readonly stagedBytes: number;
  readonly cachedBytes: number;
}

/**
 * Log, hard state and marks of one range. All changes are staged and become durable with the next
 * `RaftLog.sync`.
 */
export interface RangeLog extends RaftStorage {
  readonly rangeId: RangeId;
  /** The last staged hard state; undefined before the first. */
  readonly hardState: HardState | undefined;
  /**
   * The applied index proven durable in the engine, with the host's state as of then (opaque bytes); replay
   * after a crash starts behind it. undefined before the first.
   */
  readonly checkpoint: RangeCheckpoint | undefined;
  /** Where its record stands, for errors; there is a checkpoint. */
  checkpointPlace(): LogPlace;
  /**
   * Stages entries; the first replaces any suffix from its index on. Indexes must continue the log without a
   * gap.
   */
  append(entries: readonly Entry[]): void;
  setHardState(state: HardState): void;
  setCheckpoint(checkpoint: RangeCheckpoint): void;
  /** Forgets entries up to and including `index`; never above the checkpoint's index. */
  truncate(index: LogIndex, term: Term): void;
  /**
   * Replaces the whole log by an empty one that continues after (index, term): a snapshot was installed, or a
   * range was created.
   */
  reset(index: LogIndex, term: Term): void;
  /**
   * Reads evicted entries back into memory, after `entries` answered `loading`: at least the first, whatever
   * its size, then as many as fit. Then calls `use`, and keeps them in memory until what that answers has
   * settled: take them in there. Resolves after that. Other loads that find no room beside them wait so long.
   */
  load(
    from: LogIndex,
    toExclusive: LogIndex,
    bytesMax: number,
    use: () => void | Promise<void>,
  ): Promise<void>;
  /** Payload bytes of the entries in the log. */
  readonly entryBytes: number;
}

/** What `setMarks` stages of one range, in this order; see the methods of `RangeLog`. */
export interface RangeMarks {
  readonly rangeId: RangeId;
  readonly reset?: { readonly index: LogIndex; readonly term: Term };
  readonly hardState?: HardState;
  readonly checkpoint: RangeCheckpoint;
}

/** A file of the log, and a place in it. */
export interface LogPlace {
  readonly path: string;
  readonly offset: number;
}

export interface RangeCheckpoint {
  readonly index: LogIndex;
  readonly term: Term;
  readonly state: Uint8Array;
}
