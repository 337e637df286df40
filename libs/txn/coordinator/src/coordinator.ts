import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import type { Clock, Logger, Metrics, Rng } from '@cairn/ports';
import type { LockBreaker, RequestRouter, SpanTimes } from '@cairn/routing';

import type {
  CommitOutcome,
  CommitRequest,
  OneShot,
  OneShotOutcome,
  SnapshotRows,
  TimestampSource,
} from './types.js';

export interface CoordinatorOptions {
  readonly router: RequestRouter;
  readonly timestamps: TimestampSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Commits transactions over any ranges. */
export class TransactionCoordinator {
  readonly breaker: LockBreaker = { clear: () => Promise.resolve([]) };

  constructor(_options: CoordinatorOptions) {}

  get oldestStart(): Timestamp {
    return timestamp(0);
  }

  commit(_request: CommitRequest, _times: SpanTimes): Promise<CommitOutcome> {
    return Promise.reject(new CairnError('UNAVAILABLE', 'not yet'));
  }

  execute(_oneShot: OneShot, _times: SpanTimes): Promise<OneShotOutcome> {
    return Promise.reject(new CairnError('UNAVAILABLE', 'not yet'));
  }

  /** Rows as of `at`, or (undefined) of a fresh timestamp. */
  snapshotGet(
    _keys: readonly Uint8Array[],
    _at: Timestamp | undefined,
    _times: SpanTimes,
  ): Promise<SnapshotRows> {
    return Promise.reject(new CairnError('UNAVAILABLE', 'not yet'));
  }

  close(_timeoutMs: number): Promise<void> {
    return Promise.resolve();
  }
}
