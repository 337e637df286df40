import { CairnError } from '@cairn/base';
import type { Clock, Rng, Timer } from '@cairn/ports';
import { isSameRecord, type HolderRecord, type LeaseKeys } from '../src/coordination/record.js';
import type {
  AcquireOutcome,
  CoordinationStore,
  Holding,
  Replacement,
  ReplaceOutcome,
} from '../src/coordination/store.js';
import type { CallOptions } from '../src/options.js';

/** Chance from a seed. */
export class SeededRng implements Rng {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e37_79b1) | 0 || 1;
    for (let round = 0; round < 8; round += 1) this.next();
  }

  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) / 2 ** 32;
  }

  integer(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.integer(256));
  }
}

/** The clock of one process, which can be paused: time goes on, and nothing of the process happens. */
export class PausableClock implements Clock {
  readonly #base: Clock;
  readonly #held: (() => void)[] = [];
  isPaused = false;

  constructor(base: Clock) {
    this.#base = base;
  }

  nowMs(): number {
    return this.#base.nowMs();
  }

  unixMs(): number {
    return this.#base.unixMs();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    let isCancelled = false;
    const call = (): void => {
      if (!isCancelled) callback();
    };
    const timer = this.#base.setTimer(delayMs, () => (this.isPaused ? this.#held.push(call) : call()));
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  defer(callback: () => void): void {
    this.setTimer(0, callback);
  }

  resume(): void {
    this.isPaused = false;
    for (const call of this.#held.splice(0)) call();
  }
}

/** What may go wrong between a client and the store; shares of calls. */
export interface Faults {
  readonly latencyMsMax: number;
  readonly refused: number;
  /** The request never arrives. */
  readonly lostRequests: number;
  /** The request arrives long after the client has given up. */
  readonly lateRequests: number;
  readonly lostAnswers: number;
}

export const NO_FAULTS: Faults = {
  ...{ latencyMsMax: 5, refused: 0, lostRequests: 0, lateRequests: 0, lostAnswers: 0 },
};

interface Row {
  readonly record: HolderRecord;
  readonly expiresAtMs: number;
}

/** The rows of locks in memory, with a clock of their own. */
export class FakeCoordinationCluster {
  faults = NO_FAULTS;
  /** How much faster the clock of the store runs. */
  rate = 1;
  /** Which session got which token, in the order of the store. */
  readonly grants: { readonly token: bigint; readonly session: string }[] = [];
  /** Tokens of the guarded writes that were carried out, in the order of the store. */
  readonly written: bigint[] = [];
  /** How often changes were asked for. */
  watches = 0;
  /** Changes cannot be heard of. */
  isMute = false;
  readonly #rows = new Map<string, Row>();
  /** Every write of a holder. */
  readonly #changes: { readonly key: string; readonly record: HolderRecord | undefined }[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #tokens = new Map<string, bigint>();
  readonly #clock: Clock;
  readonly #random: Rng;

  constructor(clock: Clock, random: Rng) {
    this.#clock = clock;
    this.#random = random;
  }

  get nowMs(): number {
    return this.#clock.nowMs() * this.rate;
  }

  holding(keys: LeaseKeys): Holding {
    const row = this.#rows.get(keys.holder);
    const live = row !== undefined && row.expiresAtMs > this.nowMs ? row : undefined;
    return {
      holder: live?.record,
      token: this.#tokens.get(keys.token) ?? 0n,
      expiresUnixMs: live?.expiresAtMs,
    };
  }

  /** What one process sees of it. */
  storeOf(clock: Clock): CoordinationStore {
    return {
      acquire: (keys, record, ttlMs, options) =>
        this.#call(clock, options, () => this.#acquire(keys, record, ttlMs)),
      replace: (keys, change, options) => this.#call(clock, options, () => this.#replace(keys, change)),
      remove: (keys, expected, options) => this.#call(clock, options, () => this.#remove(keys, expected)),
      read: (keys, options) => this.#call(clock, options, () => this.holding(keys)),
      holders: (keys, signal) => this.#holders(clock, keys, signal),
    };
  }

  /** Who holds it now, and changes, each when its time has come. */
  async *#holders(
    clock: Clock,
    keys: LeaseKeys,
    signal: AbortSignal,
  ): AsyncGenerator<HolderRecord | undefined, void, undefined> {
    this.watches += 1;
    if (this.isMute) throw new CairnError('RESOURCE_EXHAUSTED', 'the fake store has no room for watches');
    const later = (): Promise<void> =>
      new Promise((resolve) => void clock.setTimer(this.faults.latencyMsMax, resolve));
    let at = this.#changes.length;
    await later();
    yield this.holding(keys).holder;
    while (!signal.aborted) {
      const change = this.#changes[at];
      if (change === undefined) {
        await this.#anotherChange(signal);
        continue;
      }
      at += 1;
      if (change.key !== keys.holder) continue;
      await later();
      yield change.record;
    }
  }

  #anotherChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#listeners.delete(wake);
        resolve();
      };
      this.#listeners.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  #write(key: string, row: Row | undefined): void {
    if (row === undefined) this.#rows.delete(key);
    else this.#rows.set(key, row);
    this.#changes.push({ key, record: row?.record });
    for (const wake of [...this.#listeners]) wake();
  }

  /** A write of data under the condition that nobody has acquired the lock since. */
  writeGuarded(clock: Clock, keys: LeaseKeys, token: bigint): Promise<boolean> {
    return this.#call(clock, { timeoutMs: 500 }, () => {
      if (this.holding(keys).token !== token) return false;
      this.written.push(token);
      return true;
    });
  }

  #acquire(keys: LeaseKeys, record: HolderRecord, ttlMs: number): AcquireOutcome {
    const now = this.holding(keys);
    if (now.holder !== undefined) return { acquired: false, ...now };
    const token = now.token + 1n;
    this.#tokens.set(keys.token, token);
    this.#write(keys.holder, { record, expiresAtMs: this.nowMs + ttlMs });
    this.grants.push({ token, session: record.session });
    return { acquired: true, token };
  }

  #replace(keys: LeaseKeys, { expected, record, ttlMs }: Replacement): ReplaceOutcome {
    const { holder } = this.holding(keys);
    if (holder === undefined || !isSameRecord(holder, expected)) return { replaced: false, holder };
    this.#write(keys.holder, { record, expiresAtMs: this.nowMs + ttlMs });
    return { replaced: true };
  }

  #remove(keys: LeaseKeys, expected: HolderRecord): boolean {
    const { holder } = this.holding(keys);
    if (holder === undefined || !isSameRecord(holder, expected)) return false;
    this.#write(keys.holder, undefined);
    return true;
  }

  #call<Result>(
    clock: Clock,
    { timeoutMs = 10_000, signal }: CallOptions,
    step: () => Result,
  ): Promise<Result> {
    const { latencyMsMax, refused, lostRequests, lateRequests, lostAnswers } = this.faults;
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const fail = (code: 'OUTCOME_UNKNOWN' | 'UNAVAILABLE' | 'CANCELLED'): void =>
      reject(new CairnError(code, `the fake store says ${code}`));
    const deadline = clock.setTimer(timeoutMs, () => fail('OUTCOME_UNKNOWN'));
    signal?.addEventListener('abort', () => fail('CANCELLED'));
    const chance = this.#random.next();
    const latencyMs = (): number => this.#random.next() * latencyMsMax;
    const answer = (deliver: () => void): void => {
      this.#clock.setTimer(latencyMs(), () => clock.setTimer(0, deliver));
    };
    if (chance < refused) {
      answer(() => fail('UNAVAILABLE'));
      return promise;
    }
    if (chance < refused + lostRequests) return promise;
    const isLate = chance < refused + lostRequests + lateRequests;
    const isAnswerLost = this.#random.next() < lostAnswers;
    this.#clock.setTimer(latencyMs() + (isLate ? timeoutMs * 2 : 0), () => {
      const result = step();
      if (isAnswerLost || isLate) return;
      answer(() => {
        deadline.cancel();
        resolve(result);
      });
    });
    return promise;
  }
}
