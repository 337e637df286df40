import { assert } from '@cairn/base';
import type { Disk } from '@cairn/ports';

import type { FlushJob, FlushResult } from './jobs.js';
import { KeyShape } from './key-shape.js';
import { compareKeys, KeyView } from './key-view.js';
import { sortRows } from './row-sort.js';
import { rowBytesOf } from './row.js';
import { writeTable } from './write-table.js';

/** Writes the newest row of each key of a memtable to a table. Durable when it resolves. */
export async function flush(disk: Disk, job: FlushJob): Promise<FlushResult> {
  assert(job.rowAt.length > 0, 'nothing to flush');
  const bytes = new Uint8Array(job.rows);
  const rows = { bytes, rowAt: job.rowAt };
  const order = sortRows(rows, 0, job.rowAt.length);
  const options = { ...job, shape: new KeyShape(job.versioned), bytesExpected: bytes.length };
  const table = await writeTable(disk, options, async (writer) => {
    const key = new KeyView();
    const last = new KeyView();
    for (const row of order) {
      const at = job.rowAt[row] as number;
      key.setToRow(bytes, at);
      // Of one key the newest row comes first.
      if (writer.rows > 0 && compareKeys(key, last) === 0) continue;
      last.setToRow(bytes, at);
      if (writer.add(bytes, at, rowBytesOf(bytes, at))) await writer.drain();
    }
  });
  assert(table !== undefined, 'a memtable with rows makes a table');
  return { type: 'flush', table };
}
