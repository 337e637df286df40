import { CairnError, rethrowInvariant } from '@cairn/base';
import { sleep, type Clock, type Rng, type Timer } from '@cairn/ports';
import type { ConditionInput } from '../transaction-options.js';
import { endedError, lostError } from './errors.js';
import type { HolderRecord, LeaseKeys } from './record.js';
import type { CoordinationStore } from './store.js';
import type { ChangeWaiter } from './waiting.js';

/** What locks and elections work with. */
export interface CoordinationParts {
  readonly store: CoordinationStore;
  readonly waiter: ChangeWaiter;
  readonly clock: Clock;
  readonly rng: Rng;
}

/**
 * A holder believes in what it holds for this share of the time to live, counted from before it asked:
 * whatever the answer took, and though its clock may run up to a tenth slower than that of the store.
 */
const BELIEF_SHARE = 0.9;
/** So many heartbeats within the time to live. */
const HEARTBEATS = 3;
/** After a heartbeat that failed the next one comes so much sooner. */
const RETRIES_PER_HEARTBEAT = 4;
/** Of one step: a step whose answer was lost, and the one that finds out. */
const REPLACES_MAX = 3;

/** Steps of one lease that wait for each other, such as changes of what it says. */
const STEPS_MAX = 64;

type State =
  | { readonly kind: 'held' }
  | { readonly kind: 'lost'; readonly error: CairnError }
  | { readonly kind: 'ended' };

/** How long one who asked at `sentAtMs` believes in the answer, on the monotonic clock. */
export function believedUntilMs(sentAtMs: number, ttlMs: number): number {
  return sentAtMs + ttlMs * BELIEF_SHARE;
}

/** A call gets half the time to live: there is time for another one. */
export function callTimeoutMs(ttlMs: number): number {
  return Math.min(10_000, ttlMs / 2);
}

/** Whether a row was written by the same try to acquire; each has written its own once. */
function isSameTry(found: HolderRecord | undefined, own: HolderRecord): found is HolderRecord {
  return found?.session === own.session && found.attempt === own.attempt;
}

/** What is held, with a time to live that heartbeats renew until it is given back or lost. */
export class Lease {
  readonly what: string;
  readonly keys: LeaseKeys;
  readonly token: bigint;
  readonly #parts: CoordinationParts;
  readonly #ttlMs: number;
  readonly #lost = new AbortController();
  /** Aborted when heartbeats end. */
  readonly #stop = new AbortController();
  /** What the row holds, as far as is known; of others in doubt the next step finds out. */
  #record: HolderRecord;
  #untilMs: number;
  #state: State = { kind: 'held' };
  #alarm: Timer | undefined;
  /** Steps that write the row, one after the other. */
  #steps: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** `untilMs`: as of `believedUntilMs`, not yet over. */
  constructor(
    parts: CoordinationParts,
    held: {
      readonly what: string;
      readonly keys: LeaseKeys;
      readonly token: bigint;
      readonly record: HolderRecord;
      readonly ttlMs: number;
      readonly untilMs: number;
    },
  ) {
    this.#parts = parts;
    this.what = held.what;
    this.keys = held.keys;
    this.token = held.token;
    this.#record = held.record;
    this.#ttlMs = held.ttlMs;
    this.#untilMs = held.untilMs;
    this.#setAlarm();
    this.#beat().catch((error: unknown) => {
      rethrowInvariant(error);
      this.#lose('its heartbeats ended', error);
    });
  }

  /** Aborted when it is lost, with the error as its reason; not when it is given back. */
  get signal(): AbortSignal {
    // A process that was paused learns here, before its timers.
    this.#look();
    return this.#lost.signal;
  }

  get isHeld(): boolean {
    this.#look();
    return this.#state.kind === 'held';
  }

  /** Milliseconds for which it is held even if no heartbeat gets through any more; 0 when it is not held. */
  get remainingMs(): number {
    return this.isHeld ? this.#untilMs - this.#parts.clock.nowMs() : 0;
  }

  get value(): string {
    return this.#record.value;
  }

  /** @throws CairnError `FAILED_PRECONDITION`, with the reason, unless it is held. */
  check(): void {
    this.#look();
    switch (this.#state.kind) {
      case 'held':
        return;
      case 'lost':
        throw this.#state.error;
      case 'ended':
        throw endedError(this.what);
    }
  }

  /** Holds while nobody has acquired it after this holder. */
  guard(): ConditionInput {
    return { key: this.keys.token, value: String(this.token) };
  }

  /** Changes what it says of itself. @throws as `check`, and what the store rejects with. */
  async setValue(value: string): Promise<void> {
    await this.#inTurn(() => this.#renew(value));
    this.check();
  }

  /**
   * Gives it back; others may have it at once. Resolves with false if it was not held any more. From the
   * first call on it is not held here. @throws what the store rejects with: then it is free when its time to
   * live is over.
   */
  async end(): Promise<boolean> {
    const wasHeld = this.isHeld;
    if (wasHeld) this.#state = { kind: 'ended' };
    this.#quit();
    if (!wasHeld) return false;
    return this.#inTurn(() => this.#remove());
  }

  async #remove(): Promise<boolean> {
    const { store } = this.#parts;
    const options = { timeoutMs: callTimeoutMs(this.#ttlMs) };
    if (await store.remove(this.keys, this.#record, options)) return true;
    // What it says of itself may have been changed by a step whose answer was lost.
    const { holder } = await store.read(this.keys, options);
    return isSameTry(holder, this.#record) ? store.remove(this.keys, holder, options) : false;
  }

  async #beat(): Promise<void> {
    const { clock } = this.#parts;
    const everyMs = this.#ttlMs / HEARTBEATS;
    let waitMs = everyMs;
    while (this.isHeld) {
      const isOver = await sleep(clock, waitMs, this.#stop.signal).then(
        () => false,
        () => true,
      );
      if (isOver) return;
      waitMs = (await this.#tryRenew()) ? everyMs : everyMs / RETRIES_PER_HEARTBEAT;
    }
  }

  /** False when it was not renewed; the alarm decides when that is too late. */
  async #tryRenew(): Promise<boolean> {
    try {
      await this.#inTurn(() => this.#renew(undefined));
      return true;
    } catch (error) {
      rethrowInvariant(error);
      if (!CairnError.is(error)) throw error;
      return false;
    }
  }

  /** A value that is left out stays. */
  async #renew(value: string | undefined): Promise<void> {
    const { store, clock } = this.#parts;
    for (let replace = 0; replace < REPLACES_MAX; replace += 1) {
      if (!this.isHeld) return;
      const expected = this.#record;
      const wanted = value === undefined ? expected : { ...expected, value };
      const sentAtMs = clock.nowMs();
      const timeoutMs = callTimeoutMs(this.#ttlMs);
      const change = { expected, record: wanted, ttlMs: this.#ttlMs };
      const outcome = await store.replace(this.keys, change, { timeoutMs });
      if (outcome.replaced) return this.#renewed(wanted, sentAtMs);
      const { holder } = outcome;
      if (!isSameTry(holder, expected)) {
        return this.#lose(holder === undefined ? 'its time was over' : 'somebody else has it');
      }
      // An earlier step has happened whose answer was lost.
      this.#record = holder;
    }
    throw new CairnError('UNAVAILABLE', `the row of ${this.what} changes under its own holder`);
  }

  #renewed(record: HolderRecord, sentAtMs: number): void {
    this.#record = record;
    if (!this.isHeld) return;
    this.#untilMs = Math.max(this.#untilMs, believedUntilMs(sentAtMs, this.#ttlMs));
    this.#setAlarm();
  }

  /** One step after the other: each expects what the one before has written. */
  #inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    if (this.#waiting >= STEPS_MAX) {
      const why = `${STEPS_MAX} steps of ${this.what} are under way`;
      return Promise.reject(new CairnError('RESOURCE_EXHAUSTED', why));
    }
    this.#waiting += 1;
    const result = this.#steps.then(step).finally(() => (this.#waiting -= 1));
    // Who asked for a step hears of its failure; the next one is not concerned.
    this.#steps = result.catch(() => undefined);
    return result;
  }

  #setAlarm(): void {
    this.#alarm?.cancel();
    const { clock } = this.#parts;
    this.#alarm = clock.setTimer(Math.max(0, this.#untilMs - clock.nowMs()), () => this.#look());
  }

  /** Time may be over before anybody was called: a process can be paused. */
  #look(): void {
    if (this.#state.kind !== 'held') return;
    if (this.#parts.clock.nowMs() < this.#untilMs) return;
    this.#lose('no heartbeat got through in time');
  }

  #lose(why: string, cause?: unknown): void {
    if (this.#state.kind !== 'held') return;
    const error = lostError(this.what, why, cause);
    this.#state = { kind: 'lost', error };
    this.#quit();
    this.#lost.abort(error);
  }

  #quit(): void {
    this.#alarm?.cancel();
    this.#stop.abort();
  }
}
