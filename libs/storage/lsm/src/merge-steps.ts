import type { MergeJob, SliceOfJob } from './jobs.js';
import { intersect, type Run, type Slice } from './version.js';

/** What of some runs one step of a merge reads. */
export interface StepInput {
  readonly inputs: readonly (readonly SliceOfJob[])[];
  readonly older: MergeJob['older'];
  /** The step ends here at the latest; undefined = everything from its beginning on is in it. */
  readonly to: Uint8Array | undefined;
}

/** The span whose rows are merged; `to` undefined = to the end. */
export interface MergeSpan {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
}

/**
 * The next piece of a merge: from the span's beginning, about as much of each run as makes a table. A step
 * must see all rows of its inputs up to where it ends, so it ends where the first run was cut off.
 */
export function stepOf(
  runs: readonly Run[],
  inputs: readonly number[],
  span: MergeSpan,
  tableBytes: number,
): StepInput {
  const taken: Slice[][] = [];
  let { to } = span;
  for (const run of runs) {
    if (!inputs.includes(run.id)) continue;
    const slices = inSpan(run.slices, span);
    let bytes = 0;
    const own: Slice[] = [];
    for (const slice of slices) {
      // Of a table that deletions cut there are many slices: together they have what it has at most.
      const isCounted = own.at(-1)?.table === slice.table;
      if (bytes >= tableBytes && !isCounted) break;
      own.push(slice);
      if (!isCounted) bytes += slice.table.summary.bytes;
    }
    const last = own.at(-1);
    if (own.length < slices.length && last !== undefined) to = lower(to, last.to);
    if (own.length > 0) taken.push(own);
  }
  const oldest = runs.findLastIndex((run) => inputs.includes(run.id));
  return {
    to,
    inputs: taken.map((slices) => inSpan(slices, { from: span.from, to }).map(plain)),
    older: runs.slice(oldest + 1).flatMap((run) => inSpan(run.slices, { from: span.from, to }).map(bounds)),
  };
}

function inSpan(slices: readonly Slice[], { from, to }: MergeSpan): Slice[] {
  const end = to ?? slices.at(-1)?.to;
  return end === undefined ? [] : intersect(slices, from, end);
}

function lower(one: Uint8Array | undefined, other: Uint8Array): Uint8Array {
  return one !== undefined && Buffer.compare(one, other) < 0 ? one : other;
}

function plain({ table, from, to }: Slice): SliceOfJob {
  return { table: table.summary, from, to };
}

function bounds({ from, to }: Slice): MergeJob['older'][number] {
  return { from, to };
}
