import type { PairedRatios } from './paired-ratios.js';
import { columns, showNumber, showRate } from './tables.js';

/** More of the machine than this was used by others: figures of such runs say little. */
const OTHER_CORES_MAX = 0.3;

/** Medians of the runs of one build. */
export interface BuildRuns {
  readonly opsPerSecond: number;
  /** Of all processes together, the client included; 0 where nobody counts. */
  readonly cpuUsPerOp: number;
  /** Of all runs. */
  readonly errors: number;
  /** Cores that everything else used; the largest of the runs. */
  readonly otherCores: number;
}

/** One line of `--json`: how a work compares. */
export interface AgainstLine {
  readonly work: string;
  readonly pairs: number;
  readonly reference: BuildRuns;
  readonly current: BuildRuns;
  /** Of operations, of scans of rows, per second: above 1 is faster than the reference. */
  readonly throughputRatio: PairedRatios;
}

function sentenceOf({ work, throughputRatio: { verdict, interval } }: AgainstLine, floor: number): string {
  const [low, high] = interval.map((each) => each.toFixed(3)) as [string, string];
  switch (verdict) {
    case 'kept':
      return `${work}: at least ${low} of the reference`;
    case 'lost':
      return `${work}: SLOWER, at most ${high} of the reference, and the floor is ${floor}`;
    case 'unclear':
      return `${work}: between ${low} and ${high} of the reference; more --repetitions would say more`;
  }
}

/** The table and what it says. */
export function showAgainst(lines: readonly AgainstLine[], floor: number): string {
  const rows = lines.map(({ work, pairs, reference, current, throughputRatio: ratio }) => [
    work,
    String(pairs),
    showRate(reference.opsPerSecond),
    showRate(current.opsPerSecond),
    ratio.median.toFixed(3),
    ratio.spread.map((each) => each.toFixed(3)).join('..'),
    ratio.interval.map((each) => each.toFixed(3)).join('..'),
    showNumber(reference.cpuUsPerOp),
    showNumber(current.cpuUsPerOp),
  ]);
  const titles = ['work', 'pairs', 'reference/s', 'current/s', 'ratio', 'min..max', 'median within'];
  const sum = (count: (line: AgainstLine) => number): number =>
    lines.reduce((all, line) => all + count(line), 0);
  const errors = sum(({ reference, current }) => reference.errors + current.errors);
  const others = Math.max(
    ...lines.map(({ reference, current }) => Math.max(reference.otherCores, current.otherCores)),
  );
  return [
    ...columns([[...titles, 'reference µs', 'current µs'], ...rows]),
    '',
    ...lines.map((line) => sentenceOf(line, floor)),
    ...(errors > 0 ? [`! ${errors} operations failed`] : []),
    ...(others > OTHER_CORES_MAX ? [`! Others used up to ${others.toFixed(2)} cores meanwhile.`] : []),
    '',
  ].join('\n');
}
