import { CairnError, rethrowInvariant } from '@cairn/base';
import type { ConditionInput } from '../transaction-options.js';
import { acquire } from './acquire.js';
import { callTimeoutMs, type CoordinationParts, type Lease } from './lease.js';
import { checkedTtl, checkedValue, checkedWait, isSameRecord, leaseKeys, type LeaseKeys } from './record.js';
import type { Holding } from './store.js';

export interface ElectionOptions {
  /** As of a lock: how long nobody can be elected after the leader was cut off. Default 10,000. */
  readonly ttlMs?: number;
}

export interface CampaignOptions {
  /** How long to wait: 0 = one try; default Infinity. */
  readonly waitMs?: number;
  /** Ends the campaign. A leadership that was won is not concerned. */
  readonly signal?: AbortSignal;
}

/** Who leads, as somebody else sees it. */
export interface Leader {
  /** What it has proclaimed. */
  readonly value: string;
  /** Larger than that of every earlier leader. */
  readonly token: bigint;
}

/** Elects one of many to lead; made by `client.election`. It has no connection and needs no closing. */
export class Election {
  readonly name: string;
  readonly #parts: CoordinationParts;
  readonly #keys: LeaseKeys;
  readonly #ttlMs: number;

  /** Callers use `client.election`. */
  constructor(parts: CoordinationParts, name: string, { ttlMs }: ElectionOptions = {}) {
    this.name = name;
    this.#parts = parts;
    this.#keys = leaseKeys('election', name);
    this.#ttlMs = checkedTtl(ttlMs);
  }

  /**
   * Waits until this one leads, and says `value` to all who ask: its address, for instance. Rejects with
   * LOCKED when another led for as long as was waited, with CANCELLED after the signal.
   */
  async campaign(value: string, { waitMs = Infinity, signal }: CampaignOptions = {}): Promise<Leadership> {
    const lease = await acquire(this.#parts, {
      what: `the leadership of "${this.name}"`,
      keys: this.#keys,
      value: checkedValue(value),
      ttlMs: this.#ttlMs,
      waitMs: checkedWait(waitMs),
      signal,
    });
    return new Leadership(this.name, lease);
  }

  /** Who leads now; undefined when nobody does. It may have changed when the answer is here. */
  async leader(options: { readonly signal?: AbortSignal } = {}): Promise<Leader | undefined> {
    return leaderOf(await this.#read(options.signal));
  }

  /**
   * Who leads, now and whenever that changes, also in what it says; undefined while nobody does. Changes that
   * follow each other closely may be seen as one. Goes on while the cluster cannot be reached for a while;
   * ends with the loop, or with the signal, which throws CANCELLED.
   */
  async *observe({ signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Leader | undefined> {
    let seen: Holding | undefined;
    let round = 0;
    for (;;) {
      if (signal?.aborted === true) throw noLongerObserved(this.name, signal);
      const now = await this.#readIfPossible(signal);
      if (now !== undefined && (seen === undefined || !saysTheSame(seen, now))) {
        seen = now;
        round = 0;
        yield leaderOf(now);
      } else {
        round += 1;
      }
      await this.#parts.waiter
        .changed(this.#keys, seen, { round, atMostMs: this.#ttlMs, signal })
        .catch((error: unknown) => {
          rethrowInvariant(error);
          throw signal?.aborted === true ? noLongerObserved(this.name, signal) : error;
        });
    }
  }

  #read(signal: AbortSignal | undefined): Promise<Holding> {
    const timeoutMs = callTimeoutMs(this.#ttlMs);
    return this.#parts.store.read(this.#keys, { timeoutMs, ...(signal === undefined ? {} : { signal }) });
  }

  /** Undefined when the cluster cannot be asked at the moment. */
  async #readIfPossible(signal: AbortSignal | undefined): Promise<Holding | undefined> {
    try {
      return await this.#read(signal);
    } catch (error) {
      rethrowInvariant(error);
      const isForNow =
        CairnError.is(error) && (error.code === 'DEADLINE_EXCEEDED' || error.retryClass !== 'fatal');
      if (isForNow) return undefined;
      throw signal?.aborted === true ? noLongerObserved(this.name, signal) : error;
    }
  }
}

/**
 * A campaign that was won. As with a lock, what must not be done by two is to be guarded where it is done.
 */
export class Leadership {
  readonly name: string;
  readonly #lease: Lease;

  /** Callers use `election.campaign`. */
  constructor(name: string, lease: Lease) {
    this.name = name;
    this.#lease = lease;
  }

  /** The fencing token: larger than that of every earlier leader. */
  get token(): bigint {
    return this.#lease.token;
  }

  /** As `Lock.isHeld`. */
  get isLeader(): boolean {
    return this.#lease.isHeld;
  }

  /** As `Lock.remainingMs`. */
  get remainingMs(): number {
    return this.#lease.remainingMs;
  }

  /** Aborted when the leadership is lost, with the error as reason; not when it is resigned. */
  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  /** What this leader says of itself. */
  get value(): string {
    return this.#lease.value;
  }

  /** As `Lock.check`. */
  check(): void {
    this.#lease.check();
  }

  /** A condition for `client.execute`: nobody has led after this one. */
  guard(): ConditionInput {
    return this.#lease.guard();
  }

  /** Says something else from now on. Rejects with FAILED_PRECONDITION when it does not lead any more. */
  async proclaim(value: string): Promise<void> {
    await this.#lease.setValue(checkedValue(value));
  }

  /** Lets others lead at once; as `Lock.release`. */
  resign(): Promise<boolean> {
    return this.#lease.end();
  }
}

function leaderOf({ holder, token }: Holding): Leader | undefined {
  return holder === undefined ? undefined : { value: holder.value, token };
}

function saysTheSame(a: Holding, b: Holding): boolean {
  return a.token === b.token && isSameRecord(a.holder, b.holder);
}

function noLongerObserved(name: string, signal: AbortSignal): CairnError {
  return new CairnError('CANCELLED', `nobody observes "${name}" any more`, { cause: signal.reason });
}
