import type { RangeDescriptor } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { checkRow, Namespace, rowSpanIn } from '@cairn/mvcc';

import type { LockTable } from './lock-table.js';

const ROWS_PER_STEP = 512;

/**
 * Fills the table with the locks that the engine holds of a range. Rejects with CORRUPTION, FORMAT_TOO_NEW,
 * and with what the engine says.
 */
export async function loadLocks(
  engine: KvEngine,
  { startKey, endKey }: Pick<RangeDescriptor, 'startKey' | 'endKey'>,
  locks: LockTable,
): Promise<void> {
  const iterator = engine.iterate(rowSpanIn(Namespace.locks, startKey, endKey));
  try {
    for (;;) {
      const rows = await iterator.next(ROWS_PER_STEP);
      if (rows.length === 0) return;
      for (const [key, record] of rows) {
        checkRow(key, record);
        locks.put(key, record);
      }
    }
  } finally {
    await iterator.close();
  }
}
