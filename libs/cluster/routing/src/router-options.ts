import type { Clock, Logger, Metrics, Rng } from '@cairn/ports';

import type { BreakerRules } from './breaker.js';
import type { LockBreaker } from './lock-breaker.js';
import type { MetadataGateway } from './metadata-gateway.js';
import type { RequestRouter } from './request-router.js';
import type { StoreConnector } from './store-link.js';
import type { StoresOptions } from './stores.js';

export interface RouterBounds {
  /** Operations accepted and not answered. */
  readonly outstandingOpsMax: number;
  /** Bytes of their keys and values. */
  readonly outstandingBytesMax: number;
  /** Operations sent to one store and not answered. */
  readonly outstandingOpsPerStoreMax: number;
  /** Pages of scans among them: each is the work of many reads, and whoever comes next waits behind them. */
  readonly outstandingScansPerStoreMax: number;
}

export interface RequestRouterOptions extends Pick<StoresOptions, 'answers'> {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly connector: StoreConnector;
  readonly gateway: MetadataGateway;
  readonly bounds: RouterBounds;
  /** When stores are given up for a while. */
  readonly breaker?: BreakerRules;
  /** Makes the one that looks into locks, with the router to ask through. Default: they are waited for. */
  readonly lockBreaker?: (router: RequestRouter) => LockBreaker;
}
