import type { RangeDescriptor, Timestamp } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { RowCache } from '@cairn/mvcc';
import type { Clock, Logger, Tracer } from '@cairn/ports';

import type { StoreChanges } from './changes/store-changes.js';
import type { DamageListener } from './damage.js';
import type { KvLimits } from './kv-limits.js';
import type { KvScratch } from './kv-scratch.js';
import type { ReadRoom } from './read-room.js';
import type { StoreReservations } from './reservations/store-reservations.js';
import type { ScanCacheBudget } from './scan-cache.js';
import type { ScanSlots } from './scan-slots.js';
import type { StoreSafePoint } from './store-safe-point.js';
import type { StoreTimestamps } from './store-timestamps.js';

/** What all key ranges of one store share. */
export interface KvEnvironment extends DamageListener {
  readonly engine: KvEngine;
  readonly rowCache: RowCache;
  readonly scanCache: ScanCacheBudget;
  readonly timestamps: StoreTimestamps;
  readonly safePoint: StoreSafePoint;
  /**
   * What the cluster lets go, as far as this node was told; only rises. Nothing that began below is served:
   * that is what makes it true, cluster-wide, that below it no lock comes any more.
   */
  gcSafePoint(): Timestamp;
  /** The range here that covers a key now, if one does: for callers whose idea of the ranges is old. */
  covering(key: Uint8Array): RangeDescriptor | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tracer: Tracer;
  readonly limits: KvLimits;
  readonly scanSlots: ScanSlots;
  readonly readRoom: ReadRoom;
  readonly scratch: KvScratch;
  readonly changes: StoreChanges;
  readonly reservations: StoreReservations;
}
