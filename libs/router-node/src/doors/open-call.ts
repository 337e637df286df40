import type { DoorCall } from '../calls.js';
import type { Caller, Callers } from './callers.js';

/**
 * A call on the account of its caller, until it is over: answered and taken, given up, or cut off. Throws
 * RESOURCE_EXHAUSTED when the caller has its share.
 */
export class OpenCall {
  readonly #callers: Callers;
  readonly #caller: Caller;
  readonly #ops: number;
  #bytes: number;
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

  /** The answer takes so many bytes until the client has taken it. */
  grow(bytes: number): void {
    if (this.#isOver) return;
    this.#bytes += bytes;
    this.#caller.growCall(bytes);
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#caller.endCall(this.#ops, this.#bytes);
    this.#callers.leave(this.#caller);
  }
}
