import { assert } from '@cairn/base';

/**
 * What every stream may have open, however many there are: what is not read cannot be cancelled either, so
 * ordinary clients should never get there.
 */
const STREAM_OPERATIONS_MIN = 1_024;

/**
 * Shares out what the router has open among the streams that have something open, so that no client is
 * refused for want of room that others have. A stream that has its share is not read: its client waits, which
 * costs nobody anything.
 */
export class OpenShare {
  readonly #operationsMax: number;
  #active = 0;

  /** `operationsMax`: open operations of all streams together, about. */
  constructor(operationsMax: number) {
    this.#operationsMax = operationsMax;
  }

  /** Open operations of one stream. */
  get perStream(): number {
    return Math.max(STREAM_OPERATIONS_MIN, Math.floor(this.#operationsMax / Math.max(1, this.#active)));
  }

  /** A stream has something open now. */
  join(): void {
    this.#active += 1;
  }

  /** It has nothing open any more. */
  leave(): void {
    assert(this.#active > 0, 'left more often than joined');
    this.#active -= 1;
  }
}
