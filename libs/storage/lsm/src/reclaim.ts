import { KeyView } from './key-view.js';
import type { Tables } from './tables.js';
import type { Table } from './table.js';
import { isWhole, type Run, type Slice } from './version.js';

/**
 * A table of which less than this share is still named is written anew: space that nothing names stays below
 * a third of what is named, and a byte that comes back costs three that are written.
 */
const NAMED_SHARE_MIN = 0.75;

/** Rows of one run that are worth to be written anew alone. */
export interface Reclaimable {
  readonly run: Run;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/**
 * The first table most of which was cut away by deletions of spans or by merges of a part, and whose rows
 * nothing else is going to write anew anyway. undefined when there is none.
 */
export async function findReclaimable(
  tables: Tables,
  runs: readonly Run[],
  isTakenOver: (rows: Reclaimable) => boolean,
): Promise<Reclaimable | undefined> {
  for (const run of runs) {
    for (const slices of slicesByTable(run).values()) {
      const { table, from } = slices[0] as Slice;
      const { to } = slices.at(-1) as Slice;
      if (isTakenOver({ run, from, to })) continue;
      let bytes = 0;
      for (const slice of slices) bytes += await bytesOf(tables, slice);
      if (bytes < table.summary.bytes * NAMED_SHARE_MIN) return { run, from, to };
    }
  }
  return undefined;
}

/** Slices of tables that are not named as a whole. A table has its slices in one run. */
function slicesByTable({ slices }: Run): Map<Table, Slice[]> {
  const byTable = new Map<Table, Slice[]>();
  for (const slice of slices) {
    if (isWhole(slice)) continue;
    const known = byTable.get(slice.table);
    if (known === undefined) byTable.set(slice.table, [slice]);
    else known.push(slice);
  }
  return byTable;
}

/** Bytes of the blocks that hold rows of the slice, to a block at either end. */
export async function bytesOf(tables: Tables, { table, from, to }: Slice): Promise<number> {
  const meta = tables.metaNow(table) ?? (await tables.loadMeta(table));
  const { smallestKey, largestKey } = table.summary;
  const first = Buffer.compare(from, smallestKey) <= 0 ? 0 : meta.blockFor(KeyView.of(from));
  const isToEnd = Buffer.compare(to, largestKey) > 0;
  const last = isToEnd ? meta.blocks : meta.blockFor(KeyView.of(to));
  return meta.positionOf(last) - meta.positionOf(first);
}
