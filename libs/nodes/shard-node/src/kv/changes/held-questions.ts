import { FairShare } from '@cairn/base';

import type { ResponseSink } from '../kv-call.js';

/** A question that waits for something new. */
export interface Held {
  readonly caller: ResponseSink;
  /** Its caller is gone. */
  abandoned(): void;
}

/**
 * The places of questions that wait at one store: of all callers so many, and of one a fair share of them.
 * They take no other room than their requests do.
 */
export class HeldQuestions {
  readonly #share: FairShare;
  readonly #byCaller = new Map<ResponseSink, Set<Held>>();
  #count = 0;

  constructor(limits: { readonly heldQuestionsMax: number }) {
    this.#share = new FairShare(limits.heldQuestionsMax);
  }

  get count(): number {
    return this.#count;
  }

  /** False when there is no place for it. */
  take(held: Held): boolean {
    const ofCaller = this.#byCaller.get(held.caller);
    if (!this.#share.allows(ofCaller?.size ?? 0, 1, this.#count)) return false;
    if (ofCaller === undefined) this.#byCaller.set(held.caller, new Set([held]));
    else ofCaller.add(held);
    this.#count += 1;
    return true;
  }

  /** It waits no more. */
  give(held: Held): void {
    const ofCaller = this.#byCaller.get(held.caller);
    if (ofCaller?.delete(held) !== true) return;
    this.#count -= 1;
    if (ofCaller.size === 0) this.#byCaller.delete(held.caller);
  }

  /** Nobody waits for answers to this caller any more. */
  forget(caller: ResponseSink): void {
    for (const held of [...(this.#byCaller.get(caller) ?? [])]) held.abandoned();
  }
}
