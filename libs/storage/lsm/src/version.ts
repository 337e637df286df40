import { assert } from '@cairn/base';

import { compareKeys, KeyView } from './key-view.js';
import { SortedKeys } from './sorted-keys.js';
import type { Table } from './table.js';

/** The rows of a table with keys in [from, to). */
export interface Slice {
  readonly table: Table;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/**
 * Slices in key order that do not overlap: all that was written between two moments, as far as it is left.
 */
export interface Run {
  readonly id: number;
  /** How often its rows were merged: 0 = written out of a memtable. */
  readonly level: number;
  readonly slices: readonly Slice[];
}

/**
 * The slices that hold keys of [start, end) are those from `ends.firstAbove(start)` on, below
 * `starts.firstAtOrAbove(end)`.
 */
export interface RunBounds {
  readonly starts: SortedKeys;
  readonly ends: SortedKeys;
}

function boundsOf(slices: readonly Slice[]): RunBounds {
  return {
    starts: SortedKeys.of(slices.map((slice) => slice.from)),
    ends: SortedKeys.of(slices.map((slice) => slice.to)),
  };
}

/**
 * Which tables hold the rows that are not in memory, newest run first. Never changes: a change makes the next
 * version, and whoever reads from this one goes on. Counted, so that files go when no version needs them.
 */
export class Version {
  readonly runs: readonly Run[];
  /** Of each run where its slices begin, and where they end. */
  readonly bounds: readonly RunBounds[];
  /** Runs of level 0. */
  readonly youngRuns: number;
  /** Runs of the level that has most of them. */
  readonly mostRuns: number;
  #references = 0;
  readonly #onUnused: (table: Table) => void;

  constructor(runs: readonly Run[], onUnused: (table: Table) => void) {
    this.runs = runs;
    this.bounds = runs.map(({ slices }) => boundsOf(slices));
    const runsOfLevels = new Map<number, number>();
    for (const { level } of runs) runsOfLevels.set(level, (runsOfLevels.get(level) ?? 0) + 1);
    this.youngRuns = runsOfLevels.get(0) ?? 0;
    this.mostRuns = Math.max(0, ...runsOfLevels.values());
    this.#onUnused = onUnused;
    for (const run of runs) for (const { table } of run.slices) table.references += 1;
  }

  retain(): void {
    this.#references += 1;
  }

  release(): void {
    assert(this.#references > 0, 'a version is released as often as it is retained');
    this.#references -= 1;
    if (this.#references > 0) return;
    for (const run of this.runs) {
      for (const { table } of run.slices) {
        table.references -= 1;
        if (table.references === 0) this.#onUnused(table);
      }
    }
  }
}

/** All of a table. */
export function wholeSlice(table: Table): Slice {
  return { table, from: table.summary.smallestKey, to: successorOf(table.summary.largestKey) };
}

/** The smallest key above another. */
function successorOf(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/** Whether the slice has all rows of its table. */
export function isWhole({ table: { summary }, from, to }: Slice): boolean {
  return Buffer.compare(from, summary.smallestKey) <= 0 && Buffer.compare(summary.largestKey, to) < 0;
}

/** Whether the slice has keys of [from, to). */
export function overlaps(slice: Pick<Slice, 'from' | 'to'>, from: Uint8Array, to: Uint8Array): boolean {
  return Buffer.compare(slice.from, to) < 0 && Buffer.compare(from, slice.to) < 0;
}

/** What is left of slices without the keys of [from, to). */
export function subtract(slices: readonly Slice[], from: Uint8Array, to: Uint8Array): Slice[] {
  return slices.flatMap((slice) => {
    if (!overlaps(slice, from, to)) return [slice];
    const left: Slice[] = [];
    if (Buffer.compare(slice.from, from) < 0) left.push({ ...slice, to: from });
    if (Buffer.compare(to, slice.to) < 0) left.push({ ...slice, from: to });
    return left;
  });
}

/** Those parts of slices that have keys of [from, to). */
export function intersect(slices: readonly Slice[], from: Uint8Array, to: Uint8Array): Slice[] {
  return slices
    .filter((slice) => overlaps(slice, from, to))
    .map((slice) => ({
      table: slice.table,
      from: Buffer.compare(slice.from, from) < 0 ? from : slice.from,
      to: Buffer.compare(to, slice.to) < 0 ? to : slice.to,
    }));
}

/** Slices with one more, in its place; it must not overlap any. */
export function insert(slices: readonly Slice[], added: Slice): Slice[] {
  assert(!slices.some((slice) => overlaps(slice, added.from, added.to)), 'slices of a run do not overlap');
  const at = slices.findIndex((slice) => Buffer.compare(added.from, slice.from) < 0);
  return at < 0 ? [...slices, added] : slices.toSpliced(at, 0, added);
}

/**
 * The first slice that ends behind the key: the only one that can hold it. `slices.length` when there is
 * none.
 */
export function sliceFor(slices: readonly Slice[], key: KeyView): number {
  const end = new KeyView();
  let low = 0;
  let high = slices.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { to } = slices[middle] as Slice;
    end.set(to, 0, to.length);
    if (compareKeys(end, key) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
