import { type CairnError, formatTooNew } from '@cairn/base';
import type { Disk, DiskFile } from '@cairn/ports';

import {
  damagedTable,
  decodeFooter,
  FOOTER_BYTES,
  metaBytesOf,
  metaFrom,
  type TableFooter,
  type TableMeta,
} from './table-format.js';
import { tableName, type EngineDirectory, type TableSummary } from './table-summary.js';

/** A table whose file is open. */
export interface Table {
  readonly summary: TableSummary;
  readonly path: string;
  readonly file: DiskFile;
  readonly footer: TableFooter;
  /** Slices of versions that name it: the file goes when there are none any more. */
  references: number;
  /** In memory while there is room. */
  meta: TableMeta | undefined;
  /** Somebody looked at `meta` since it was last considered for removal. */
  wasUsed: boolean;
}

/**
 * Opens a table that somebody wrote. Throws CORRUPTION when it is not what was written, or not this table of
 * this directory.
 */
export async function openTable(
  disk: Disk,
  { directory, directoryId }: EngineDirectory,
  summary: TableSummary,
): Promise<Table> {
  const { number, bytes } = summary;
  const path = `${directory}/${tableName(number)}`;
  if (!(await disk.exists(path))) throw damagedTable(path, 'it is missing');
  const file = await disk.open(path, { mode: 'read' });
  try {
    const size = await file.size();
    if (size !== bytes) throw damagedTable(path, `it has ${size} bytes instead of ${bytes}`);
    const footer = decodeFooter(await file.read(size - FOOTER_BYTES, FOOTER_BYTES), size, path);
    if (footer.directoryId !== directoryId) throw damagedTable(path, 'it was written in another directory');
    if (footer.number !== number) throw damagedTable(path, `it is table ${footer.number} by another name`);
    return { summary, path, file, footer, references: 0, meta: undefined, wasUsed: false };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads the meta section. Throws CORRUPTION. */
export async function readMeta({ file, footer, path }: Table): Promise<TableMeta> {
  return metaFrom(await file.read(footer.metaAt, metaBytesOf(footer)), footer, path);
}

/** What a read meets whose block is not what was written; `what` goes on from "the block". */
export function damagedBlock({ path }: Pick<Table, 'path'>, position: number, what: string): CairnError {
  return damagedTable(path, `the block at ${position} ${what}`, { position });
}

/** What a read meets whose block was written by a later release. */
export function newerBlock({ path }: Pick<Table, 'path'>, position: number, what: string): CairnError {
  return formatTooNew(`engine: table ${path}: the block at ${position} has ${what}`, { path, position });
}
