import type { Clock, Rng } from '@cairn/ports';
import type { CairnClient } from '../client.js';
import { acquire } from './acquire.js';
import type { CoordinationParts } from './lease.js';
import { Lock, type LockOptions } from './lock.js';
import { checkedTtl, checkedValue, checkedWait, leaseKeys } from './record.js';
import { ClientStore } from './store.js';
import { ChangeWaiter } from './waiting.js';

/** What a client's locks and elections work with. */
export function coordinationParts(client: CairnClient, clock: Clock, rng: Rng): CoordinationParts {
  const store = new ClientStore(client);
  return { store, waiter: new ChangeWaiter(store, clock, rng), clock, rng };
}

/** As `client.lock`. */
export async function acquireLock(
  parts: CoordinationParts,
  name: string,
  { ttlMs, waitMs, value = '', signal }: LockOptions = {},
): Promise<Lock> {
  const lease = await acquire(parts, {
    what: `the lock "${name}"`,
    keys: leaseKeys('lock', name),
    value: checkedValue(value),
    ttlMs: checkedTtl(ttlMs),
    waitMs: checkedWait(waitMs),
    signal,
  });
  return new Lock(name, lease);
}
