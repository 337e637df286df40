import type { Timestamp } from '@cairn/base';
import type { Change, ChangesReply, ChangesRequest } from '@cairn/wire';

import type { Position } from './positions.js';

/** Keys from `start` on; `end` is exclusive, and empty = the end of all keys. */
export interface KeySpan {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

export interface Asking {
  /** One that the oracle has issued, and that the leader is to know of before it answers; 0 = none. */
  readonly readTimestamp: Timestamp;
  readonly signal: AbortSignal;
}

/** Where changes come from. */
export interface ChangesSource {
  /** A fresh timestamp of the oracle. */
  timestamp(): Promise<Timestamp>;
  /**
   * The ranges that a span lies in, whole and in order, as far as they are known now; what is not known
   * counts as one.
   */
  ranges(span: KeySpan): readonly KeySpan[];
  /** Asks the leader of a range. Rejects with CairnError; CANCELLED when the signal aborts. */
  ask(request: ChangesRequest, asking: Asking): Promise<ChangesReply>;
}

/** Where a watch begins. */
export type WatchFrom =
  | { readonly type: 'now' }
  /** Behind what was delivered with the token. */
  | { readonly type: 'token'; readonly token: Uint8Array }
  /** Behind all changes at or below the timestamp. */
  | { readonly type: 'timestamp'; readonly timestamp: Timestamp };

export interface WatchOptions {
  readonly span: KeySpan;
  readonly from: WatchFrom;
  readonly withPrevious: boolean;
  /** `PROGRESS_MS_MIN` to `PROGRESS_MS_MAX`: no longer is nothing said. */
  readonly progressMs: number;
  /** Whose it is: callers share the places. */
  readonly caller: string;
}

/** One change on its way to those who watch its key; all of them share it. */
export interface StreamEvent extends Position {
  /** As `StreamsOptions.encode` made it, once for all. */
  readonly encoded: Uint8Array;
}

/** Encodes a change for those who watch; `token` is where a watch goes on behind it. */
export type EncodeChange = (change: Change, token: Buffer) => Uint8Array;

/** What a watch says next. */
export type WatchOutput =
  | {
      readonly type: 'changes';
      /** In the order of all changes. */
      readonly events: readonly StreamEvent[];
    }
  | {
      readonly type: 'progress';
      readonly token: Buffer;
      /** All changes at or below it have been delivered. */
      readonly resolved: Timestamp;
    }
  | {
      /** The last word. */
      readonly type: 'reset';
      readonly reason: ResetReason;
      /** The least timestamp that a watch may begin at; 0 = not known. */
      readonly oldest: Timestamp;
    };

/**
 * Why a watch was ended:
 * - `history`: versions that it was to tell of may be gone. Its token is of no use any more.
 * - `backlog`: its caller did not take what it had. Its token is good as long as the history is.
 */
export type ResetReason = 'history' | 'backlog';

/** An open watch. */
export interface Watch {
  /** It tells of all changes behind this one timestamp; with a token, at that of the token too. */
  readonly started: Timestamp;
  /** To begin there again. */
  readonly startToken: Buffer;
  /**
   * What comes next; waits for it. To be called again when that was taken. Rejects with what ended the watch
   * (UNAVAILABLE: go to another router with the last token), CANCELLED after `close`.
   */
  read(): Promise<WatchOutput>;
  /** Called once when it has ended, whoever ended it: what it says last is there to be read. */
  onEnd(listener: () => void): void;
  /** Lets go of everything. Idempotent. */
  close(): void;
}
