import { assert } from '@cairn/base';
import { RequestRouter, type RequestRouterOptions } from '@cairn/routing';

import { TransactionCoordinator, type CoordinatorOptions } from './coordinator.js';

export interface CoordinatedRouter {
  readonly router: RequestRouter;
  readonly coordinator: TransactionCoordinator;
}

/** Makes a router, and the coordinator that looks into the locks which its operations meet. */
export function createCoordinatedRouter(
  options: Omit<RequestRouterOptions, 'lockBreaker'>,
  transactions: Pick<CoordinatorOptions, 'deadlocks' | 'limits' | 'timestamps'>,
): CoordinatedRouter {
  const made: { coordinator?: TransactionCoordinator } = {};
  const { clock, logger, metrics, rng } = options;
  const router = new RequestRouter({
    ...options,
    lockBreaker: (before) => {
      made.coordinator = new TransactionCoordinator({
        ...{ clock, logger, metrics, rng, router: before },
        ...transactions,
      });
      return made.coordinator.breaker;
    },
  });
  const { coordinator } = made;
  assert(coordinator !== undefined, 'a router makes its breaker of locks');
  return { router, coordinator };
}
