import { CairnError, rethrowInvariant } from '@cairn/base';
import type { Dispatcher, DispatchTiming } from './dispatcher.js';
import type { LockPolicy, LockStrength, ReserveResponse } from './wire-binding.js';

const OVERHEAD_BYTES = 64;
const KEY_BYTES = 8;
/** What is not given back by then is with the connection, or when the router forgets it. */
const RELEASE_TIMEOUT_MS = 5_000;

/** How keys are to be held. */
export interface Lock {
  readonly strength: LockStrength;
  readonly policy: LockPolicy;
  /** 0 = that of the router. */
  readonly lockTimeoutMs: number;
}

/**
 * The reservations of one transaction, over all its attempts: they stay when an attempt is aborted, so that
 * the next one finds its place. Calls go one after the other.
 */
export class Reserver {
  readonly #dispatcher: Pick<Dispatcher, 'start'>;
  #owner = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(dispatcher: Pick<Dispatcher, 'start'>) {
    this.#dispatcher = dispatcher;
  }

  /** 0 = nothing was reserved. */
  get owner(): number {
    return this.#owner;
  }

  /** `start`: what reads are made at by the time that the call is sent; 0 = nothing was read. */
  reserve(
    keys: Buffer[],
    lock: Lock,
    start: () => number,
    timing: () => DispatchTiming,
  ): Promise<ReserveResponse> {
    const mine = this.#last.then(async () => {
      // Known before anything is reserved: what is not answered can be given back.
      if (this.#owner === 0) {
        const asked = { $case: 'getTimestamp', value: {} } as const;
        this.#owner = (await this.#dispatcher.start(asked, OVERHEAD_BYTES, timing())) as number;
      }
      const value = { ...lock, keys, owner: this.#owner, start: start() };
      const bytes = keys.reduce((sum, { length }) => sum + length + KEY_BYTES, OVERHEAD_BYTES);
      const answer = await this.#dispatcher.start({ $case: 'reserve', value }, bytes, timing());
      return answer as ReserveResponse;
    });
    this.#last = mine.catch(rethrowInvariant);
    return mine;
  }

  /** The transaction has ended; a commit has released them already, and hears that there is nothing. */
  release(): void {
    if (this.#owner === 0) return;
    const timing = { timeoutMs: RELEASE_TIMEOUT_MS, signal: undefined, traceparent: undefined };
    const asked = { $case: 'release', value: { owner: this.#owner } } as const;
    this.#dispatcher.start(asked, OVERHEAD_BYTES, timing).catch((error: unknown) => {
      rethrowInvariant(error);
      if (!CairnError.is(error)) throw error;
    });
  }
}
