import type { Timestamp } from '@cairn/base';
import { asBuffer, readWriteBatchHeader, RequestWindow } from '@cairn/mvcc';
import type { Entry } from '@cairn/raft';

import type { Leadership } from './leadership.js';

/**
 * The outcomes of recent commands of one range, by which a retry is recognised, and since when it has all.
 */
export class RememberedOutcomes {
  readonly #leadership: Pick<Leadership, 'since'>;
  /** undefined after a restart until the first remembered command tells since when it is complete. */
  #window: RequestWindow | undefined;

  constructor(window: RequestWindow | undefined, leadership: Pick<Leadership, 'since'>) {
    this.#window = window;
    this.#leadership = leadership;
  }

  get window(): RequestWindow | undefined {
    return this.#window;
  }

  /** Every command with a timestamp above this is remembered; see `RequestWindow.completeSince`. */
  get completeSince(): Timestamp {
    return this.#window?.completeSince ?? this.#leadership.since;
  }

  /** After a restart the window begins with the first command that is still in the log; a purge is none. */
  windowFor(entry: Entry): RequestWindow | undefined {
    if (this.#window !== undefined) return this.#window;
    const completeSince = readWriteBatchHeader(asBuffer(entry.payload)).maxTimestamp;
    if (completeSince > 0) this.#window = new RequestWindow({ completeSince });
    return this.#window;
  }

  /**
   * Gives back the memory of outcomes that are past their time, in a range where nothing has happened since.
   */
  forgetOld(now: Timestamp): void {
    if (this.#window !== undefined && this.#window.length > 0) this.#window.evictAt(now);
  }

  /** A snapshot told what was remembered; undefined = nobody knows. */
  restored(window: RequestWindow | undefined): void {
    this.#window = window;
  }
}
