import type { Timestamp } from '@cairn/base';
import type { RowCacheKey } from '@cairn/mvcc';
import type { Clock, Timer } from '@cairn/ports';

import type { Held, HeldQuestions } from '../changes/held-questions.js';
import type { KvCall, ResponseSink, Submitter } from '../kv-call.js';

/** Where a command waits, and how long. */
export interface WaitingFor {
  readonly key: RowCacheKey;
  readonly owner: Timestamp;
  /** On the store's monotonic clock. */
  readonly untilMs: number;
}

class HeldReserve implements Held {
  readonly call: KvCall;
  readonly at: WaitingFor;
  timer: Timer | undefined = undefined;
  readonly #whenAbandoned: (held: HeldReserve) => void;

  constructor(call: KvCall, at: WaitingFor, whenAbandoned: (held: HeldReserve) => void) {
    this.call = call;
    this.at = at;
    this.#whenAbandoned = whenAbandoned;
  }

  get caller(): ResponseSink {
    return this.call.caller;
  }

  abandoned(): void {
    this.#whenAbandoned(this);
  }
}

/** Who keeps the place of a command in the queue of its key. */
export interface PlaceKeeper {
  /** The command will ask again, or another of the same owner. */
  keepPlace(key: RowCacheKey, owner: Timestamp): void;
  /** Nobody waits for the answer any more. */
  leave(key: RowCacheKey, owner: Timestamp): void;
}

/**
 * The commands of one range that wait for a key. Whatever ends their wait, they go back to the queue of the
 * range, and are looked at in its next turn like any other call.
 */
export class HeldReserves {
  readonly #clock: Clock;
  readonly #places: HeldQuestions;
  readonly #queue: Submitter;
  /** Those of one owner at one key: one mostly, more where its router gave one up. */
  readonly #held = new Map<string, Set<HeldReserve>>();

  constructor(parts: { readonly clock: Clock; readonly places: HeldQuestions; readonly queue: Submitter }) {
    this.#clock = parts.clock;
    this.#places = parts.places;
    this.#queue = parts.queue;
  }

  /** False when too many wait on this store. */
  hold(call: KvCall, at: WaitingFor, keeper: PlaceKeeper): boolean {
    const held = new HeldReserve(call, at, (abandoned) => {
      this.#remove(abandoned);
      keeper.keepPlace(at.key, at.owner);
      call.fail('UNAVAILABLE', 'the connection closed');
    });
    if (!this.#places.take(held)) return false;
    call.detach();
    const name = nameOf(at.key, at.owner);
    const others = this.#held.get(name);
    if (others === undefined) this.#held.set(name, new Set([held]));
    else others.add(held);
    held.timer = this.#clock.setTimer(Math.max(0, at.untilMs - this.#clock.nowMs()), () => {
      this.#askAgain(held, keeper);
    });
    return true;
  }

  /** The key may be taken by the owner. */
  wake(key: RowCacheKey, owner: Timestamp, keeper: PlaceKeeper): void {
    for (const held of [...(this.#held.get(nameOf(key, owner)) ?? [])]) this.#askAgain(held, keeper);
  }

  /** Whoever waits finds out by itself what has changed. */
  wakeAll(keeper: PlaceKeeper): void {
    for (const ofOne of [...this.#held.values()]) {
      for (const held of [...ofOne]) this.#askAgain(held, keeper);
    }
  }

  #askAgain(held: HeldReserve, keeper: PlaceKeeper): void {
    this.#remove(held);
    const { key, owner } = held.at;
    if (held.call.isCancelled && !this.#held.has(nameOf(key, owner))) keeper.leave(key, owner);
    else keeper.keepPlace(key, owner);
    this.#queue.submit(held.call);
  }

  #remove(held: HeldReserve): void {
    const name = nameOf(held.at.key, held.at.owner);
    const ofOne = this.#held.get(name);
    if (ofOne?.delete(held) === true && ofOne.size === 0) this.#held.delete(name);
    held.timer?.cancel();
    this.#places.give(held);
  }
}

function nameOf(key: RowCacheKey, owner: Timestamp): string {
  return `${owner}/${key}`;
}
