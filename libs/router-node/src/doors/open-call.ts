import { CairnError } from '@cairn/base';

import type { DoorCall } from '../calls.js';
import type { Caller, Callers } from './callers.js';

/** One error for all, as in the router: the stack of each would cost as much as its request. */
export const ANSWERS_HELD = new CairnError(
  'RESOURCE_EXHAUSTED',
  'the client has not taken the answers it has',
  { retryAfterMs: 50 },
);

/**
 * A call on the account of its caller, until it is over: answered and taken, given up, or cut off. Throws
 * RESOURCE_EXHAUSTED when the caller has its share.
 */
export class OpenCall {
  readonly #callers: Callers;
  readonly #caller: Caller;
  readonly #ops: number;
  readonly #bytes: number;
  #answerBytes = 0;
  #answers = 0;
  #isOver = false;

  constructor(callers: Callers, call: DoorCall, weight: { readonly ops: number; readonly bytes: number }) {
    this.#callers = callers;
    this.#caller = callers.enter(call.getPeer());
    this.#ops = weight.ops;
    this.#bytes = weight.bytes;
    try {
      this.#caller.beginCall(weight.ops, weight.bytes);
    } catch (error) {
      callers.leave(this.#caller);
      throw error;
    }
    const over = (): void => {
      this.#end();
    };
    call.on('cancelled', over);
    call.on('close', over);
  }

  /** Room for a value of the answer, until the client has taken it; false when there is none now. */
  takeAnswer(bytes: number): boolean {
    if (bytes === 0 || this.#isOver) return true;
    if (!this.#caller.takeAnswer(bytes)) return false;
    this.#answerBytes += bytes;
    this.#answers += 1;
    return true;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#caller.endCall(this.#ops, this.#bytes);
    this.#caller.giveAnswers(this.#answerBytes, this.#answers);
    this.#callers.leave(this.#caller);
  }
}
