import { assert } from '@cairn/base';

import { insert, subtract, wholeSlice, type Run, type Slice } from './version.js';
import type { Table } from './table.js';

/*
 * Changes of the list of runs, newest first. For any key, rows in earlier runs are newer than those in later
 * ones; every change keeps that.
 */

/** A memtable was written out: it is newer than everything that was before. */
export function addNewest(runs: readonly Run[], id: number, table: Table): Run[] {
  return [{ id, level: 0, slices: [wholeSlice(table)] }, ...runs];
}

/** The rows of a span are gone. */
export function removeSpan(runs: readonly Run[], from: Uint8Array, to: Uint8Array): Run[] {
  return withoutEmpty(runs.map((run) => ({ ...run, slices: subtract(run.slices, from, to) })));
}

/** What one step of a merge has done. */
export interface MergeStep {
  /** The runs whose rows were merged. */
  readonly inputs: readonly number[];
  /** Where the rows are now: one of the inputs, or a run that comes right behind them and may be new. */
  readonly output: { readonly id: number; readonly level: number };
  /** undefined when no row was left. */
  readonly table: Table | undefined;
  readonly from: Uint8Array;
  /** undefined = to the end. */
  readonly to: Uint8Array | undefined;
}

/** The rows of the inputs in [from, to) are in the table now, or gone. */
export function applyMergeStep(runs: readonly Run[], step: MergeStep): Run[] {
  const left = runs.map((run) => {
    if (!step.inputs.includes(run.id)) return run;
    return { ...run, slices: subtractFrom(run.slices, step) };
  });
  if (step.table === undefined) return withoutEmpty(left);
  const added = wholeSlice(step.table);
  const known = left.findIndex((run) => run.id === step.output.id);
  if (known >= 0) {
    const output = left[known] as Run;
    return withoutEmpty(left.with(known, { ...output, slices: insert(output.slices, added) }));
  }
  const oldest = left.findLastIndex((run) => step.inputs.includes(run.id));
  assert(oldest >= 0, 'a merge has inputs', { output: step.output.id });
  return withoutEmpty(left.toSpliced(oldest + 1, 0, { ...step.output, slices: [added] }));
}

function subtractFrom(slices: readonly Slice[], { from, to }: MergeStep): Slice[] {
  if (to !== undefined) return subtract(slices, from, to);
  return slices.flatMap((slice) => {
    if (Buffer.compare(slice.to, from) <= 0) return [slice];
    return Buffer.compare(slice.from, from) < 0 ? [{ ...slice, to: from }] : [];
  });
}

function withoutEmpty(runs: readonly Run[]): Run[] {
  return runs.filter((run) => run.slices.length > 0);
}
