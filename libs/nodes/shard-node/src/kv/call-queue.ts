import { NOTHING, withItem } from '@cairn/base';

import type { KvCall, Submitter } from './kv-call.js';
import type { ServedRange } from './served-range.js';

/** Requests looked at in one turn: some milliseconds of work. */
const CALLS_PER_TURN_MAX = 1_024;

/** The calls of one range that wait for its next turn. Bounded by the calls that the door lets in. */
export class CallQueue implements Submitter {
  readonly #range: Pick<ServedRange, 'isClosed' | 'replica'>;
  #calls: readonly KvCall[] = NOTHING;

  constructor(range: Pick<ServedRange, 'isClosed' | 'replica'>) {
    this.#range = range;
  }

  get length(): number {
    return this.#calls.length;
  }

  /** A request for this range. Looked at in the next turn. */
  submit(call: KvCall): void {
    if (this.#range.isClosed) {
      call.failNotLeader(this.#range.replica.leaderStoreId);
      return;
    }
    this.#calls = withItem(this.#calls, call);
    this.#range.replica.wake();
  }

  /** Takes out the calls of one turn, in the order in which they came. */
  take(): readonly KvCall[] {
    const calls = this.#calls;
    if (calls.length <= CALLS_PER_TURN_MAX) {
      this.#calls = NOTHING;
      return calls;
    }
    this.#calls = calls.slice(CALLS_PER_TURN_MAX);
    return calls.slice(0, CALLS_PER_TURN_MAX);
  }

  /** A call whose turn came too early: it waits for the next one, which somebody else asks for. */
  putBack(call: KvCall): void {
    this.#calls = withItem(this.#calls, call);
  }

  /** The range is gone: everybody who waits is told. */
  close(): void {
    const waiting = this.#calls;
    this.#calls = NOTHING;
    for (const call of waiting) call.failNotLeader(this.#range.replica.leaderStoreId);
  }
}
