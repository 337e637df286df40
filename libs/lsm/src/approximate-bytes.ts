import { KeyView } from './key-view.js';
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
    for (const { table, from, to } of intersect(run.slices, start, end)) {
      const meta = tables.metaNow(table) ?? (await tables.loadMeta(table));
      const { smallestKey, largestKey } = table.summary;
      const first = Buffer.compare(from, smallestKey) <= 0 ? 0 : meta.blockFor(KeyView.of(from));
      const isToEnd = Buffer.compare(to, largestKey) > 0;
      const last = isToEnd ? meta.blocks : meta.blockFor(KeyView.of(to));
      bytes += meta.positionOf(last) - meta.positionOf(first);
    }
  }
  return bytes;
}
