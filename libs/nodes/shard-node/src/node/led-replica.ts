import { CairnError, type RangeId } from '@cairn/base';
import type { Replica, Store } from '@cairn/store';

/** The replica of a range that is led here. Throws NOT_LEADER, with the store that leads it; 0 = unknown. */
export function ledReplica(store: Pick<Store, 'replica'>, rangeId: RangeId): Replica {
  const replica = store.replica(rangeId);
  if (replica?.isReadyLeader === true) return replica;
  throw new CairnError('NOT_LEADER', 'the range is not led by this node', {
    details: { leaderStoreId: replica?.leaderStoreId ?? 0 },
  });
}
