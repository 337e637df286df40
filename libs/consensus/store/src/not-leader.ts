import { CairnError, type StoreId } from '@cairn/base';

/**
 * Who asks this store for what only the leader of a range can do. `leaderStoreId` in the details is where it
 * is, as far as the replica here knows; 0 = unknown.
 */
export function notLeader(replica: { readonly leaderStoreId: StoreId } | undefined): CairnError {
  return new CairnError('NOT_LEADER', 'the range is not led here', {
    details: { leaderStoreId: replica?.leaderStoreId ?? 0 },
  });
}
