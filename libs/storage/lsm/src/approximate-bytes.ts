import { bytesOf } from './reclaim.js';
import type { Tables } from './tables.js';
import { intersect, type Version } from './version.js';

/**
 * Bytes of the blocks that hold rows of [start, end), to a block at either end of each table. Reads indexes,
 * no rows.
 */
export async function approximateBytes(
  tables: Tables,
  version: Version,
  start: Uint8Array,
  end: Uint8Array,
): Promise<number> {
  let bytes = 0;
  for (const run of version.runs) {
    for (const slice of intersect(run.slices, start, end)) bytes += await bytesOf(tables, slice);
  }
  return bytes;
}
