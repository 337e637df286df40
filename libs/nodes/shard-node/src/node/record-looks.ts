import type { Timestamp } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { checkRow, startOfTransactionKey, type KeySpan } from '@cairn/mvcc';

const ROWS_PER_STEP = 512;
/** Rows one look may examine before it yields. */
const EXAMINED_PER_LOOK_MAX = 10_000;
/** Nothing is between an engine key and the same with this behind it. */
const JUST_ABOVE = Buffer.of(0);

/** Which records and marks of transactions go. */
export interface RecordBounds {
  /** Those of transactions that began below it: no range has a lock of theirs, and none takes one. */
  readonly below: Timestamp;
  /** Below it their time is over, and only locks keep them. */
  readonly ripeBelow: Timestamp;
  /** Keys that one look finds at most. */
  readonly keysMax: number;
}

/** What one look at a part of the records found. */
export interface FoundRecords {
  /** In any order: none depends on another. */
  readonly keys: readonly Buffer[];
  /** Engine bytes of the keys and their values. */
  readonly freedBytes: number;
  /** The same of those that stay because of locks alone. */
  readonly blockedBytes: number;
  readonly examined: number;
  /** Where the next look begins; undefined = the span is done. */
  readonly next: Buffer | undefined;
}

/**
 * Looks for records and marks that nobody can ask for any more, a bounded part at a time (T9). A late command
 * of their transactions is refused because these began below what is served; `below` is strict for that, as
 * what begins exactly there is served still.
 */
export async function lookAtRecords(
  engine: KvEngine,
  span: KeySpan,
  { below, ripeBelow, keysMax }: RecordBounds,
): Promise<FoundRecords> {
  const keys: Buffer[] = [];
  let freedBytes = 0;
  let blockedBytes = 0;
  let examined = 0;
  const iterator = engine.iterate(span);
  try {
    for (;;) {
      const rows = await iterator.next(ROWS_PER_STEP);
      if (rows.length === 0) return { keys, freedBytes, blockedBytes, examined, next: undefined };
      for (const [key, record] of rows) {
        // A flipped bit must not make a decision garbage.
        checkRow(key, record);
        const start = startOfTransactionKey(key);
        const bytes = key.length + record.length;
        examined += 1;
        if (start < below) {
          keys.push(key);
          freedBytes += bytes;
        } else if (start < ripeBelow) {
          blockedBytes += bytes;
        }
        if (keys.length < keysMax && examined < EXAMINED_PER_LOOK_MAX) continue;
        const next = Buffer.concat([key, JUST_ABOVE]);
        return { keys, freedBytes, blockedBytes, examined, next };
      }
    }
  } finally {
    await iterator.close();
  }
}
