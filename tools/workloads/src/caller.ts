import { CairnError } from '@cairn/base';
import type { SimRng } from '@cairn/runtime-sim';

import type { LoadClient } from './load-client.js';
import { fateOf, type CallKind } from './outcomes.js';

/**
 * How a call ended, with times of the clock that all callers share. `failed`: it surely did not happen;
 * `unknown`: it may have, or may still.
 */
export type Outcome<Value> =
  | { readonly type: 'ok'; readonly value: Value; readonly invokedMs: number; readonly returnedMs: number }
  | { readonly type: 'failed'; readonly invokedMs: number; readonly returnedMs: number }
  | { readonly type: 'unknown'; readonly invokedMs: number; readonly returnedMs: number };

export interface CallerOptions {
  readonly name: string;
  readonly client: LoadClient;
  readonly rng: SimRng;
  /** Milliseconds of one clock for all callers of a load. */
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** A call failed as none may fail. */
  readonly violate: (message: string) => void;
  /** For those who count: a call has ended. */
  readonly onEnd?: (type: Outcome<unknown>['type'], error?: CairnError) => void;
}

/** One client of a load: it has one call open at a time. */
export class Caller {
  readonly client: LoadClient;
  readonly rng: SimRng;
  readonly #options: CallerOptions;
  #lives = 0;
  #values = 0;
  operations = 0;
  succeeded = 0;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.client = options.client;
    this.rng = options.rng;
  }

  /** As histories know it: after an unknown outcome it goes on as somebody else. */
  get process(): string {
    return `${this.#options.name}.${this.#lives}`;
  }

  nowMs(): number {
    return this.#options.nowMs();
  }

  sleep(ms: number): Promise<void> {
    return this.#options.sleep(ms);
  }

  /** A text that no caller of the load has used before; without dots. */
  newValue(): string {
    this.#values += 1;
    return `${this.#options.name}-${this.#values}`;
  }

  /** A call that changes nothing: an error of any kind says nothing. */
  read<Value>(call: () => Promise<Value>): Promise<Outcome<Value>> {
    return this.attempt('transaction', call);
  }

  /** Rejects only when the call failed with something that is no error of the product. */
  async attempt<Value>(kind: CallKind, call: () => Promise<Value>): Promise<Outcome<Value>> {
    const invokedMs = this.nowMs();
    this.operations += 1;
    try {
      const value = await call();
      this.succeeded += 1;
      this.#options.onEnd?.('ok');
      return { type: 'ok', value, invokedMs, returnedMs: this.nowMs() };
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      const fate = fateOf(error, kind);
      if (fate === undefined) this.#options.violate(`a call failed with ${error.code}: ${error.message}`);
      const type = fate ?? 'unknown';
      this.#options.onEnd?.(type, error);
      return { type, invokedMs, returnedMs: this.nowMs() };
    }
  }

  /** To be called when what was recorded under this name may still happen. */
  becomeSomebodyElse(): void {
    this.#lives += 1;
  }
}
