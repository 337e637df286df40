import type { EngineLevelStats } from '@cairn/engine';

import { RUNS_PER_LEVEL_MAX, type MergePlan } from './merge-policy.js';
import type { Table } from './table.js';
import type { Run } from './version.js';

/** What the runs hold per level, level 0 first; levels without a run in between are there, with zeros. */
export function levelsOf(runs: readonly Run[]): EngineLevelStats[] {
  const levels: EngineLevelStats[] = [];
  for (let level = 0; level <= (runs.at(-1)?.level ?? -1); level += 1) {
    const own = runs.filter((run) => run.level === level);
    const tables = tablesOf(own);
    levels.push({ level, runs: own.length, tables: tables.size, bytes: bytesOf(tables) });
  }
  return levels;
}

/**
 * Bytes of the tables that merges have to read which are due or under way; a table that was begun counts
 * whole.
 */
export function pendingMergeBytes(runs: readonly Run[], underWay: readonly MergePlan[]): number {
  const isPending = ({ id, level }: Run): boolean =>
    underWay.some(({ inputs }) => inputs.includes(id)) ||
    runs.filter((run) => run.level === level).length >= RUNS_PER_LEVEL_MAX;
  return bytesOf(tablesOf(runs.filter(isPending)));
}

/** Each once: of a table that a deletion cut there are several slices. */
function tablesOf(runs: readonly Run[]): Set<Table> {
  return new Set(runs.flatMap(({ slices }) => slices.map(({ table }) => table)));
}

function bytesOf(tables: ReadonlySet<Table>): number {
  let bytes = 0;
  for (const { summary } of tables) bytes += summary.bytes;
  return bytes;
}
