import { assert } from '@cairn/base';
import type { Disk } from '@cairn/ports';

import type { FlushJob, FlushResult } from './jobs.js';
import { KeyShape } from './key-shape.js';
import { compareKeys, KeyView } from './key-view.js';
import { PackedRow } from './packed-row.js';
import { sortRows } from './row-sort.js';
import { writeTable } from './write-table.js';

/** Writes the newest row of each key of a memtable to a table. Durable when it resolves. */
export async function flush(disk: Disk, job: FlushJob): Promise<FlushResult> {
  assert(job.rowAt.length > 0, 'nothing to flush');
  const bytes = new Uint8Array(job.rows);
  const rows = { bytes, rowAt: job.rowAt };
  const order = sortRows(rows, 0, job.rowAt.length);
  const shape = new KeyShape(job.versioned);
  // Whoever writes may wait for a flush, and what it makes is merged soon: none of it is compressed.
  const options = { ...job, shape, bytesExpected: bytes.length, isCompressed: false };
  const table = await writeTable(disk, options, async (writer) => {
    const row = new PackedRow();
    const last = new KeyView();
    for (const number of order) {
      const at = job.rowAt[number] as number;
      row.lookAt(bytes, at);
      // Of one key the newest row comes first.
      if (writer.rows > 0 && compareKeys(row.key, last) === 0) continue;
      last.setToRow(bytes, at);
      if (writer.add(row)) await writer.drain();
    }
  });
  assert(table !== undefined, 'a memtable with rows makes a table');
  return { type: 'flush', table };
}
