import type { KvCall } from '../kv-call.js';
import type { PublishWaiters } from '../publish-waiters.js';
import { infoOf, type Lock } from './lock-table.js';

/**
 * Whether these locks stop a read: it is told of them, or begins anew when those are gone that are going
 * already.
 */
export function isStopped(
  call: KvCall,
  locks: readonly Lock[],
  waiters: Pick<PublishWaiters, 'whenPublished'>,
  again: () => void,
): boolean {
  if (locks.length === 0) return false;
  const staying = locks.filter(({ removal }) => removal === 'none');
  if (staying.length > 0) call.failLocked(staying.map(infoOf));
  else waiters.whenPublished(again);
  return true;
}
