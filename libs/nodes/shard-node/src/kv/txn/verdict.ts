import type { ErrorCode, Timestamp } from '@cairn/base';
import type { RowCacheKey, VersionRecord } from '@cairn/mvcc';
import type { TxnReply } from '@cairn/wire';

import type { Decision } from './decisions.js';
import type { Lock } from './lock-table.js';

/** A row that a transaction writes. */
export interface WrittenRow {
  readonly userKey: Uint8Array;
  readonly key: RowCacheKey;
  readonly version: VersionRecord;
}

/** What a command puts into the log, in one entry. */
export interface TxnChange {
  readonly start: Timestamp;
  readonly added: readonly Lock[];
  readonly removed: readonly Lock[];
  readonly decisions: readonly Decision[];
  readonly rows: readonly WrittenRow[];
}

/** What a command of a transaction comes to, judged by its leader. */
export type Verdict =
  /** True for good, whoever leads now. */
  | { readonly type: 'reply'; readonly reply: TxnReply }
  /** True if this replica leads. */
  | { readonly type: 'confirm'; readonly reply: TxnReply }
  /** True once the change is committed; undefined = the command is to be judged again when it is visible. */
  | { readonly type: 'write'; readonly change: TxnChange; readonly reply: TxnReply | undefined }
  /** Locks of others are in the way; nothing is done. */
  | { readonly type: 'locked'; readonly locks: readonly Lock[] }
  /** To be judged again when what is under way is visible. */
  | { readonly type: 'wait' }
  /** Something has to be read first. */
  | { readonly type: 'read' }
  /** Only a timestamp issued now can tell whether this one has passed. */
  | { readonly type: 'time'; readonly at: Timestamp }
  | {
      readonly type: 'refused';
      readonly code: ErrorCode;
      readonly message: string;
      readonly retryAfterMs: number;
    };

export const WAIT: Verdict = { type: 'wait' };
export const READ: Verdict = { type: 'read' };

export function replied(reply: TxnReply): Verdict {
  return { type: 'reply', reply };
}

/** A change of nothing, to begin with. */
export function changeOf(start: Timestamp, parts: Partial<TxnChange>): TxnChange {
  return { start, added: [], removed: [], decisions: [], rows: [], ...parts };
}
