import { CairnError, Holder } from '@cairn/base';

import type { DoorCall } from '../calls.js';
import type { Caller } from './callers.js';
import type { DoorContext } from './door-context.js';

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
export class OpenCall extends Holder {
  readonly caller: Caller;
  readonly #context: DoorContext;
  readonly #call: DoorCall;
  readonly #ops: number;
  readonly #bytes: number;
  #answers = 0;
  #isOver = false;

  constructor(
    context: DoorContext,
    call: DoorCall,
    weight: { readonly ops: number; readonly bytes: number },
  ) {
    super();
    this.#context = context;
    this.#call = call;
    this.caller = context.callers.enter(call.getPeer());
    this.#ops = weight.ops;
    this.#bytes = weight.bytes;
    try {
      this.caller.beginCall(weight.ops, weight.bytes);
    } catch (error) {
      context.callers.leave(this.caller);
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
    if (!this.caller.takeAnswer(bytes, this)) return false;
    if (this.#answers === 0) this.#context.callers.answerHolders.add(this);
    this.heldBytes += bytes;
    this.#answers += 1;
    return true;
  }

  /** The answer is whole: from now on it is the client that is waited for. */
  answered(): void {
    if (this.#answers > 0) this.heldSinceMs = this.#context.clock.nowMs();
  }

  cutOff(): void {
    this.#end();
    this.#context.cutOff(this.#call);
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { callers } = this.#context;
    if (this.#answers > 0) callers.answerHolders.remove(this);
    this.caller.endCall(this.#ops, this.#bytes);
    this.caller.giveAnswers(this.heldBytes, this.#answers);
    callers.leave(this.caller);
  }
}
