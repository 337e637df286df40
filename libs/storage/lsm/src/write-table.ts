import type { Disk } from '@cairn/ports';

import type { KeyShape } from './key-shape.js';
import { tableName, type EngineDirectory, type TableSummary } from './table-summary.js';
import { TableWriter } from './table-writer.js';

export interface WriteTableOptions extends EngineDirectory {
  readonly outputNumber: number;
  readonly shape: KeyShape;
  readonly blockBytes: number;
  readonly isCompressed: boolean;
  readonly bytesExpected: number;
}

/**
 * Makes a table of the rows that `fill` adds; without any row, none. The file is durable when this resolves,
 * its name with the next sync of the directory; when it rejects, a file may be left that is of no use.
 */
export async function writeTable(
  disk: Disk,
  options: WriteTableOptions,
  fill: (writer: TableWriter) => Promise<void>,
): Promise<TableSummary | undefined> {
  const path = `${options.directory}/${tableName(options.outputNumber)}`;
  const file = await disk.open(path, { mode: 'write' });
  const writer = new TableWriter({ ...options, file, number: options.outputNumber });
  let summary: TableSummary | undefined;
  try {
    await fill(writer);
    if (writer.rows > 0) summary = await writer.finish();
  } finally {
    await file.close();
  }
  if (summary === undefined) await disk.remove(path);
  return summary;
}
