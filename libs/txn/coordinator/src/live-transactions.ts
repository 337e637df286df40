import { assert, timestamp, type Timestamp } from '@cairn/base';

import { mapKey } from './keys.js';

/**
 * Where a two-phase commit is:
 * - `prewriting`: its commit timestamp is not taken yet, and will be above every one that was issued so far.
 * - `committing`: it may be decided at `commit` at any moment.
 * - `committed`, `rolledBack`: decided; its locks are going.
 */
export type CommitPhase =
  | { readonly type: 'prewriting' }
  | { readonly type: 'committing'; readonly commit: Timestamp }
  | { readonly type: 'committed'; readonly commit: Timestamp }
  | { readonly type: 'rolledBack' };

interface Waiter {
  readonly key: string;
  readonly wake: () => void;
}

/**
 * A two-phase commit that is run here: whoever meets its locks through this router need not ask the primary,
 * and is woken when they go, in the order of their coming. Holds as many waiters as the router has
 * operations.
 */
export class LiveTransaction {
  readonly start: Timestamp;
  #phase: CommitPhase = { type: 'prewriting' };
  #pushedTo = timestamp(0);
  #waiters: Waiter[] = [];
  #isOver = false;
  /** It may hold locks besides those that one command asks for: it must not wait for older transactions. */
  holdsLocks = false;

  constructor(start: Timestamp) {
    this.start = start;
  }

  get phase(): CommitPhase {
    return this.#phase;
  }

  /** It must commit above this: reads at or below have passed it over. */
  get pushedTo(): Timestamp {
    return this.#pushedTo;
  }

  enter(phase: CommitPhase): void {
    assert(
      phase.type !== 'committing' || phase.commit > this.#pushedTo,
      'a commit comes behind the reads that have passed it over',
    );
    this.#phase = phase;
    this.#wakeIf(() => true);
  }

  /**
   * For a read at `at` (0 = of the newest): whether it may pass over the locks; then it is behind them for
   * ever.
   */
  passes(at: Timestamp): boolean {
    const phase = this.#phase;
    switch (phase.type) {
      case 'prewriting':
        if (at > this.#pushedTo) this.#pushedTo = at;
        return true;
      case 'committing':
      case 'committed':
        return at > 0 && phase.commit > at;
      case 'rolledBack':
        return true;
    }
  }

  get isDecided(): boolean {
    return this.#phase.type === 'committed' || this.#phase.type === 'rolledBack';
  }

  /**
   * `wake` is called once, when the lock of the key goes, the phase changes, or the transaction is forgotten.
   * The answer takes the waiter away.
   */
  wait(key: Uint8Array, wake: () => void): () => void {
    const waiter: Waiter = { key: mapKey(key), wake };
    if (this.#isOver) wake();
    else this.#waiters.push(waiter);
    return () => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
    };
  }

  /** The locks of these keys are gone. */
  released(keys: readonly Uint8Array[]): void {
    if (this.#waiters.length === 0) return;
    const gone = new Set(keys.map(mapKey));
    this.#wakeIf(({ key }) => gone.has(key));
  }

  /** Nothing more is known of it here: who still meets a lock of it asks the primary. */
  over(): void {
    this.#isOver = true;
    this.#wakeIf(() => true);
  }

  #wakeIf(isMeant: (waiter: Waiter) => boolean): void {
    const woken = this.#waiters.filter(isMeant);
    this.#waiters = this.#waiters.filter((waiter) => !isMeant(waiter));
    for (const { wake } of woken) wake();
  }
}

/** The two-phase commits that are run here, by their start, and the snapshots that somebody holds. */
export class LiveTransactions {
  readonly #byStart = new Map<Timestamp, LiveTransaction>();
  /** Snapshots that are in use, and how often. */
  readonly #held = new Map<Timestamp, number>();

  get count(): number {
    return this.#byStart.size;
  }

  /** Smallest start of all; 0 = none. */
  get oldestStart(): Timestamp {
    let oldest = Infinity;
    for (const start of this.#byStart.keys()) oldest = Math.min(oldest, start);
    for (const start of this.#held.keys()) oldest = Math.min(oldest, start);
    return timestamp(oldest === Infinity ? 0 : oldest);
  }

  get(start: Timestamp): LiveTransaction | undefined {
    return this.#byStart.get(start);
  }

  /** Answers undefined if it is here already: then somebody commits one transaction twice. */
  begin(start: Timestamp): LiveTransaction | undefined {
    if (this.#byStart.has(start)) return undefined;
    const live = new LiveTransaction(start);
    this.#byStart.set(start, live);
    return live;
  }

  end(live: LiveTransaction): void {
    this.#byStart.delete(live.start);
    live.over();
  }

  /** The snapshot stays readable until the answer is called. */
  hold(start: Timestamp): () => void {
    this.#held.set(start, (this.#held.get(start) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = (this.#held.get(start) as number) - 1;
      if (left === 0) this.#held.delete(start);
      else this.#held.set(start, left);
    };
  }
}
