import type { OpenLoopResult } from './open-loop.js';
import { median, rounded, spreadOf, type Spread } from './statistics.js';
import { columns, showNumber, showRate } from './tables.js';

/** One overload, all client processes together. */
export interface OverloadSample {
  /** Throughput of the closed loop just before. */
  readonly bestPerSecond: number;
  readonly offeredPerSecond: number;
  /** Of those offered: not sent, because the client processes were full or late. */
  readonly unsentShare: number;
  readonly goodputPerSecond: number;
  /** Of all answers in the window: shares by error code. */
  readonly errorShares: Readonly<Record<string, number>>;
  readonly firstError: string;
  /** Of the accepted ones; the worst of the client processes. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of all client processes, and of each server by name, milliseconds; p99. */
  readonly loopDelayP99Ms: Readonly<Record<string, number>>;
  /** Ranges whose leader was another one in two looks that followed each other, summed up. */
  readonly leaderChanges: number;
}

/** Adds the client processes up. At least one. */
export function combineClients(
  results: readonly OpenLoopResult[],
): Omit<OverloadSample, 'bestPerSecond' | 'leaderChanges'> {
  const perSecond = (valueOf: (result: OpenLoopResult) => number): number =>
    results.reduce((sum, result) => sum + (valueOf(result) * 1_000) / result.elapsedMs, 0);
  const total = (valueOf: (result: OpenLoopResult) => number): number =>
    results.reduce((sum, result) => sum + valueOf(result), 0);
  const errors: Record<string, number> = {};
  for (const { errorsByCode } of results) {
    for (const [code, count] of Object.entries(errorsByCode)) errors[code] = (errors[code] ?? 0) + count;
  }
  const failed = Object.values(errors).reduce((sum, count) => sum + count, 0);
  const answers = total(({ succeeded }) => succeeded) + failed;
  const offered = total((result) => result.offered);
  const errorShares = Object.entries(errors).map(([code, count]) => [code, count / answers] as const);
  const delays = results.map(({ loopDelayP99Ms }, at) => [`client-${at + 1}`, loopDelayP99Ms] as const);
  return {
    offeredPerSecond: perSecond((result) => result.offered),
    unsentShare: offered > 0 ? total(({ unsent }) => unsent) / offered : 0,
    goodputPerSecond: perSecond(({ succeeded }) => succeeded),
    errorShares: Object.fromEntries(errorShares),
    firstError: results.find(({ firstError }) => firstError !== '')?.firstError ?? '',
    p50Ms: Math.max(...results.map(({ p50Ms }) => p50Ms)),
    p99Ms: Math.max(...results.map(({ p99Ms }) => p99Ms)),
    loopDelayP99Ms: Object.fromEntries(delays),
  };
}

/** Leader by range id at one moment; 0 = unknown. */
export type Leaders = ReadonlyMap<number, number>;

/** Ranges that both looks know a leader of, and not the same. */
export function changedLeaders(before: Leaders, after: Leaders): number {
  return [...after].filter(([range, leader]) => {
    const was = before.get(range) ?? 0;
    return was !== 0 && leader !== 0 && was !== leader;
  }).length;
}

/** What `--json` prints. */
export interface OverloadReport {
  readonly factor: number;
  readonly runs: number;
  readonly bestPerSecond: number;
  readonly offeredPerSecond: number;
  readonly goodputPerSecond: number;
  /** Median of the runs, each with the best throughput just before it. */
  readonly goodputRatio: number;
  readonly goodputRatioSpread: Spread;
  readonly unsentShare: number;
  readonly errorShares: Readonly<Record<string, number>>;
  readonly firstError: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The largest value of all runs. */
  readonly loopDelayP99Ms: Readonly<Record<string, number>>;
  readonly leaderChanges: number;
}

function medianOf(samples: readonly OverloadSample[], valueOf: (sample: OverloadSample) => number): number {
  return rounded(median(samples.map(valueOf)));
}

function byName(
  samples: readonly OverloadSample[],
  recordOf: (sample: OverloadSample) => Readonly<Record<string, number>>,
  combine: (values: readonly number[]) => number,
): Record<string, number> {
  const names = new Set(samples.flatMap((sample) => Object.keys(recordOf(sample))));
  return Object.fromEntries(
    [...names].map((name) => [
      name,
      rounded(combine(samples.map((sample) => recordOf(sample)[name] ?? 0)), 3),
    ]),
  );
}

/** At least one sample. */
export function overloadReport(factor: number, samples: readonly OverloadSample[]): OverloadReport {
  const ratios = samples.map(({ goodputPerSecond, bestPerSecond }) =>
    bestPerSecond > 0 ? goodputPerSecond / bestPerSecond : 0,
  );
  const [min, max] = spreadOf(ratios);
  return {
    factor,
    runs: samples.length,
    bestPerSecond: medianOf(samples, (sample) => sample.bestPerSecond),
    offeredPerSecond: medianOf(samples, (sample) => sample.offeredPerSecond),
    goodputPerSecond: medianOf(samples, (sample) => sample.goodputPerSecond),
    goodputRatio: rounded(median(ratios), 3),
    goodputRatioSpread: [rounded(min, 3), rounded(max, 3)],
    unsentShare: medianOf(samples, (sample) => sample.unsentShare),
    errorShares: byName(samples, (sample) => sample.errorShares, median),
    firstError: samples.find(({ firstError }) => firstError !== '')?.firstError ?? '',
    p50Ms: medianOf(samples, (sample) => sample.p50Ms),
    p99Ms: medianOf(samples, (sample) => sample.p99Ms),
    loopDelayP99Ms: byName(
      samples,
      (sample) => sample.loopDelayP99Ms,
      (values) => Math.max(...values),
    ),
    leaderChanges: samples.reduce((sum, { leaderChanges }) => sum + leaderChanges, 0),
  };
}

function percent(share: number): string {
  return `${showNumber(share * 100)} %`;
}

/** Shows the results to people. */
export function showOverload(report: OverloadReport): string {
  const [min, max] = report.goodputRatioSpread;
  const errors = Object.entries(report.errorShares).map(([code, share]) => `${code} ${percent(share)}`);
  const rows = [
    ['best, closed loop', `${showRate(report.bestPerSecond)}/s`],
    [`offered, open loop, × ${report.factor}`, `${showRate(report.offeredPerSecond)}/s`],
    ['  of that not sent by the clients', percent(report.unsentShare)],
    ['accepted (goodput)', `${showRate(report.goodputPerSecond)}/s`],
    ['  divided by the best', `${showNumber(report.goodputRatio)} (${showNumber(min)}..${showNumber(max)})`],
    ['  p50 / p99 from when it was due, ms', `${showNumber(report.p50Ms)} / ${showNumber(report.p99Ms)}`],
    ['answers that were errors', errors.length === 0 ? 'none' : errors.join(', ')],
    ['leader changes', String(report.leaderChanges)],
  ];
  const delays = Object.entries(report.loopDelayP99Ms).map(([name, ms]) => [name, showNumber(ms)]);
  const trouble =
    report.firstError === '' ? '' : `\n! First error that is no refusal: ${report.firstError}\n`;
  return (
    `${columns(rows).join('\n')}\n\n${columns([['event-loop delay', 'p99 ms'], ...delays]).join('\n')}\n\n` +
    `Medians of ${report.runs} runs; delays and leader changes are the worst and the sum.\n${trouble}`
  );
}
