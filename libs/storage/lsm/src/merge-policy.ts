import { assert } from '@cairn/base';

import type { Run } from './version.js';

/**
 * So many runs of a level are merged into one of the next. Every row is written once per level it passes,
 * which grows with the logarithm of the data; a read looks into fewer than this many runs per level, most of
 * them through their filters only.
 */
export const RUNS_PER_LEVEL_MAX = 8;

/**
 * Deeper than any run is: eight of a level become one of the next, and there are fewer numbers for runs than
 * that takes.
 */
export const LEVEL_MAX = 16;

/** Some runs of one level that become one of the next; carried out in steps, a table at a time. */
export interface MergePlan {
  readonly inputs: readonly number[];
  readonly level: number;
  /** The run that the steps put their tables into. */
  readonly output: number;
}

/**
 * The merge that is due, of the lowest level that has one: it is the smallest, and what it leaves undone
 * costs every read. undefined when none is. `underWay` are merges that have begun, at most one per level;
 * `takeNumber` names the run that a new one makes.
 */
export function chooseMerge(
  runs: readonly Run[],
  underWay: readonly MergePlan[],
  takeNumber: () => number,
): MergePlan | undefined {
  const levels = new Map<number, number[]>();
  for (const { id, level } of runs) levels.set(level, [...(levels.get(level) ?? []), id]);
  for (const level of [...levels.keys()].sort((one, other) => one - other)) {
    const begun = underWay.find((plan) => plan.level === level);
    if (begun !== undefined) return begun;
    const inputs = levels.get(level) ?? [];
    if (inputs.length >= RUNS_PER_LEVEL_MAX) return { inputs, level, output: takeNumber() };
  }
  return undefined;
}

/**
 * Levels never fall from newer runs to older ones; without that, "the runs of a level" would not be
 * neighbours.
 */
export function checkLevels(runs: readonly Run[]): void {
  for (let at = 1; at < runs.length; at += 1) {
    const [newer, older] = [runs[at - 1] as Run, runs[at] as Run];
    assert(newer.level <= older.level, 'an older run has a lower level', { run: older.id });
  }
}
