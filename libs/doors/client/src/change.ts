import { Row, type FoundRow } from './entry.js';
import { tokenTextOf } from './watch-options.js';
import type { WatchChange } from './wire-binding.js';

/** What was there before a change. */
export interface PreviousValue {
  readonly value: Buffer;
  readonly timestamp: number;
  /** As `Entry.expiresAtMs`. */
  readonly expiresAtMs: number | undefined;
}

/** A change of one key: the entry that it made, with its place among all changes. The same ownership holds. */
export class Change extends Row {
  /** A deletion has an empty value. That a key expires is no change. */
  readonly type: 'put' | 'delete';
  /** Where it committed. */
  readonly timestamp: number;
  /** The transaction that did it: changes of one have the same number. undefined = a plain write. */
  readonly transaction: number | undefined;
  /** With `withPrevious`: what was replaced; undefined where that was absent, deleted or no bytes. */
  readonly previous: PreviousValue | undefined;
  readonly #token: Buffer;

  constructor(change: WatchChange) {
    super(change.key, change satisfies FoundRow);
    const { deleted, timestamp, transaction, previous, token } = change;
    this.type = deleted ? 'delete' : 'put';
    this.timestamp = timestamp;
    this.transaction = transaction === 0 ? undefined : transaction;
    this.previous = previous && {
      value: previous.value,
      timestamp: previous.timestamp,
      expiresAtMs: previous.expiresUnixMs === 0 ? undefined : previous.expiresUnixMs,
    };
    this.#token = token;
  }

  /** Text to keep: `client.watch({ ..., from: token })` goes on behind this change, at any time and place. */
  get token(): string {
    return tokenTextOf(this.#token);
  }
}
