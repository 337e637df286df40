import type { Clock } from '@cairn/ports';

import type { Replica } from './replica.js';

/**
 * Replicas that wait for a turn. Sockets, timers and finished writes only put them here; whoever runs the
 * turns listens. Two arrays take turns, and keep their memory.
 */
export class RunQueue {
  readonly #clock: Clock;
  readonly #listeners: (() => void)[] = [];
  /** The first `#queued` wait for the next turn. */
  #queue: (Replica | undefined)[] = [];
  #queued = 0;
  /** The first `#takenCount` are being worked off. */
  #taken: (Replica | undefined)[] = [];
  #takenCount = 0;
  #isScheduled = false;
  /** Whose state machine has its turn; what it proposes is carried out right behind it. */
  current: Replica | undefined = undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls the listener when a turn is due, behind the events that are already waiting. */
  whenDue(listener: () => void): void {
    this.#listeners.push(listener);
  }

  get isEmpty(): boolean {
    return this.#queued === 0;
  }

  enqueue(replica: Replica): void {
    if (!replica.isQueued && !replica.isClosed) {
      replica.isQueued = true;
      this.#push(replica);
    }
    this.schedule();
  }

  /** Asks for a turn after the events that are already waiting. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.defer(() => {
      this.#isScheduled = false;
      for (const listener of this.#listeners) listener();
    });
  }

  /**
   * All that wait are taken out, for `taken`; answers how many. Who is queued from here on waits for the
   * next.
   */
  take(): number {
    const empty = this.#taken;
    this.#taken = this.#queue;
    this.#takenCount = this.#queued;
    this.#queue = empty;
    this.#queued = 0;
    return this.#takenCount;
  }

  taken(at: number): Replica {
    return this.#taken[at] as Replica;
  }

  /** The first `done` had their turn; the others wait behind those that were queued meanwhile. */
  finish(done: number): void {
    for (let left = done; left < this.#takenCount; left += 1) this.#push(this.taken(left));
    this.#taken.fill(undefined, 0, this.#takenCount);
    this.#takenCount = 0;
  }

  #push(replica: Replica): void {
    this.#queue[this.#queued] = replica;
    this.#queued += 1;
  }
}
