import type { Clock, Logger, Rng } from '@cairn/ports';
import type { RequestRouter } from '@cairn/routing';

import type { Background } from './background.js';
import type { TransactionCalls } from './calls.js';
import type { TransactionLimits } from './limits.js';
import type { LiveTransactions } from './live-transactions.js';
import type { TransactionBreaker } from './lock-breaker.js';
import type { LockResolver } from './lock-resolver.js';
import type { TransactionMetrics } from './metrics.js';
import type { Reservations } from './reservations.js';
import type { TimestampSource } from './types.js';

/** What the parts of the coordinator share. */
export interface CoordinatorParts {
  readonly router: RequestRouter;
  readonly timestamps: TimestampSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly limits: TransactionLimits;
  readonly calls: TransactionCalls;
  readonly live: LiveTransactions;
  readonly breaker: TransactionBreaker;
  readonly resolver: LockResolver;
  readonly reservations: Reservations;
  readonly background: Background;
  readonly metrics: TransactionMetrics;
}
