import { CairnError } from '@cairn/base';
import type { Clock, Metrics, Rng } from '@cairn/ports';
import type { RequestRouter, SpanTimes } from '@cairn/routing';

import type { TransactionCoordinator } from './coordinator.js';
import type { BeginOptions, OpenTransaction, TimestampSource } from './types.js';

export interface OpenTransactionsOptions {
  readonly coordinator: TransactionCoordinator;
  readonly router: RequestRouter;
  readonly timestamps: TimestampSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics: Metrics;
  /** One that was not used for so long is ended. */
  readonly idleMs?: number;
}

/** Stateful transactions for callers that keep nothing themselves. */
export class OpenTransactions {
  constructor(_options: OpenTransactionsOptions) {}

  begin(_options: BeginOptions, _times: SpanTimes): Promise<OpenTransaction> {
    return Promise.reject(new CairnError('UNAVAILABLE', 'not yet'));
  }

  /** Throws TRANSACTION_NOT_FOUND: unknown, ended, or of another caller. */
  find(_id: string, _caller: string): OpenTransaction {
    throw new CairnError('TRANSACTION_NOT_FOUND', 'not yet');
  }

  /** Ends all; nothing of them happened. */
  close(): void {
    return;
  }
}
