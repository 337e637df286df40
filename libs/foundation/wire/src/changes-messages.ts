import type { Timestamp } from '@cairn/base';

/*
 * Questions of routers for what was changed in a part of a range, and the leader's answers; see the README of
 * the shard node. A question is whole in itself: the leader keeps nothing for whoever asks.
 */

/** Longest time that a leader holds a question while there is nothing new. */
export const CHANGES_WAIT_MS_MAX = 10_000;
/** Least and most bytes of changes that a question may ask for in one answer. */
export const CHANGES_BYTES_MIN = 64 * 1024;
export const CHANGES_BYTES_MAX = 4 * 1024 * 1024;
/** Changes in one answer. */
export const CHANGES_COUNT_MAX = 16_384;

/** What was changed above a timestamp in a span of user keys inside one range. */
export interface ChangesRequest {
  readonly start: Uint8Array;
  /** Exclusive; empty = the end of all keys. */
  readonly end: Uint8Array;
  /**
   * Everything above it is wanted: what was resolved so far, once that is told. A question that says less is
   * answered at once, again and again.
   */
  readonly after: Timestamp;
  /**
   * Log index up to which the router has everything of the range above `after`; 0 = nothing. From there on
   * the leader tells what came, if it still knows; else it begins anew, with all above `after`.
   */
  readonly index: number;
  /** The range that `index` belongs to; `index` says nothing about another. */
  readonly rangeId: number;
  /**
   * From the answer before, if that was not whole: bytes that the leader alone understands, brought back as
   * they are with the `index` beside them. Empty = nothing is to go on.
   */
  readonly resume: Uint8Array;
  readonly withPrevious: boolean;
  /** 0 to `CHANGES_WAIT_MS_MAX`: how long the leader may hold the question. */
  readonly waitMs: number;
  /** `CHANGES_BYTES_MIN` to `CHANGES_BYTES_MAX`; one change that is longer still comes, alone. */
  readonly bytesMax: number;
}

/** The version of its key that was there before a change. */
export interface PreviousVersion {
  readonly value: Uint8Array;
  readonly timestamp: Timestamp;
  /** 0 = never. */
  readonly expiresAt: Timestamp;
}

/** One version of a user key. */
export interface Change {
  readonly key: Uint8Array;
  readonly timestamp: Timestamp;
  /** Orders the writes of a key at one timestamp; with the timestamp it is the version token. */
  readonly sequence: number;
  /** When the transaction began that made it; 0 = it was a plain write. */
  readonly start: Timestamp;
  /** Of what was put; bytes for a deletion. */
  readonly kind: number;
  readonly type: 'put' | 'delete';
  /** Empty unless bytes were put. */
  readonly value: Uint8Array;
  /** The timestamp from which on it counts as absent; 0 = never. */
  readonly expiresAt: Timestamp;
  /**
   * If it was asked for: what the change replaced, unless that was absent, deleted or of another kind than
   * bytes.
   */
  readonly previous: PreviousVersion | undefined;
}

export type ChangesReply =
  | {
      readonly type: 'page';
      readonly rangeId: number;
      /** With this page, and those before it that it goes on from, the router has everything up to here. */
      readonly index: number;
      /** No change at or below it comes later than this page; 0 = not known, ask on. */
      readonly resolved: Timestamp;
      /** There is more: the next question brings this back. Empty = there is not. */
      readonly resume: Uint8Array;
      readonly changes: readonly Change[];
    }
  /** Versions above `after` may be gone; `oldest` is the least timestamp that may be asked for. */
  | { readonly type: 'reset'; readonly oldest: Timestamp }
  /** The span is not in one range. */
  | { readonly type: 'regroup' };
