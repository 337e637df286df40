import { median, rounded, spreadOf, type Spread } from './statistics.js';
import type { Sample } from './system.js';
import type { VersusLine } from './versus.js';
import type { Cell, WorkName } from './works.js';

/** Repeated runs of one system in one cell: medians, and how far the runs lie apart. */
export interface Summary {
  readonly opsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Smallest and largest of the runs. */
  readonly spread: {
    readonly opsPerSecond: Spread;
    readonly p50Ms: Spread;
    readonly p99Ms: Spread;
    readonly p999Ms: Spread;
  };
  readonly runs: number;
  /** Sums over all runs. */
  readonly errors: number;
  readonly misses: number;
  /** Message of the first error, when there was one. */
  readonly firstError?: string;
  /** By role, see `Sample`. */
  readonly cpuUsPerOp: Readonly<Record<string, number>>;
  /** Cores that everything else used; the largest of the runs. */
  readonly otherCores?: number;
  /** Works with transactions: runs of a transaction beyond the first, per operation. */
  readonly restartsPerOp?: number;
  /** The same works: the longest time that one slot was without a success; the largest of the runs. */
  readonly starvationMs?: number;
  /** Resident memory by process after the last run of this cell. */
  readonly rssBytes: Readonly<Record<string, number>>;
  readonly system: string;
  readonly version: string;
  /** What drove it. */
  readonly driver: string;
}

/** One line of `--json`. The peer's parts are there only where there is a peer. */
export interface ResultLine {
  readonly work: WorkName;
  readonly outstanding: number;
  readonly ours: Summary;
  readonly peer?: Summary;
  /** Median throughput of ours divided by that of the peer: above 1 is faster. */
  readonly throughputRatio?: number;
  /** Median p99 of ours divided by that of the peer: below 1 is faster. */
  readonly p99Ratio?: number;
  /** Smallest and largest of the same ratios of two runs that followed each other. */
  readonly ratioSpread?: { readonly throughput: Spread; readonly p99: Spread };
  /** Works with transactions: how ours compares with other works of ours in the same campaign. */
  readonly versus?: readonly VersusLine[];
  /** What `opsPerSecond` counts. */
  readonly unit: 'operations' | 'rows';
}

/** Who measured, for a summary. */
export interface SystemFacts {
  readonly system: string;
  readonly version: string;
  readonly driver: string;
  readonly rssBytes: Readonly<Record<string, number>>;
}

function roundedSpread(values: readonly number[]): Spread {
  const [min, max] = spreadOf(values);
  return [rounded(min), rounded(max)];
}

function medianByRole(samples: readonly Sample[]): Record<string, number> {
  const roles = new Set(samples.flatMap((sample) => Object.keys(sample.cpuUsPerOp)));
  const found: Record<string, number> = {};
  for (const role of roles) {
    const values = samples.map((sample) => sample.cpuUsPerOp[role]).filter((value) => value !== undefined);
    found[role] = rounded(median(values), 3);
  }
  return found;
}

/** At least one sample. */
export function summarize(samples: readonly Sample[], facts: SystemFacts): Summary {
  const opsPerSecond = samples.map((sample) => sample.opsPerSecond);
  const p50Ms = samples.map((sample) => sample.p50Ms);
  const p99Ms = samples.map((sample) => sample.p99Ms);
  const p999Ms = samples.map((sample) => sample.p999Ms);
  const otherCores = samples.map((sample) => sample.otherCores).filter((cores) => cores !== undefined);
  const firstError = samples.find((sample) => sample.errors > 0)?.firstError;
  return {
    opsPerSecond: rounded(median(opsPerSecond)),
    p50Ms: rounded(median(p50Ms)),
    p99Ms: rounded(median(p99Ms)),
    p999Ms: rounded(median(p999Ms)),
    spread: {
      opsPerSecond: roundedSpread(opsPerSecond),
      p50Ms: roundedSpread(p50Ms),
      p99Ms: roundedSpread(p99Ms),
      p999Ms: roundedSpread(p999Ms),
    },
    runs: samples.length,
    errors: samples.reduce((sum, sample) => sum + sample.errors, 0),
    misses: samples.reduce((sum, sample) => sum + sample.misses, 0),
    ...(firstError === undefined ? {} : { firstError }),
    cpuUsPerOp: medianByRole(samples),
    ...(otherCores.length === 0 ? {} : { otherCores: rounded(Math.max(...otherCores), 2) }),
    ...transactionFigures(samples),
    ...facts,
  };
}

/** What only works with transactions have. */
function transactionFigures(samples: readonly Sample[]): Pick<Summary, 'restartsPerOp' | 'starvationMs'> {
  const restarts = samples.map(({ restartsPerOp }) => restartsPerOp).filter((each) => each !== undefined);
  const waits = samples.map(({ starvationMs }) => starvationMs).filter((each) => each !== undefined);
  return {
    ...(restarts.length === 0 ? {} : { restartsPerOp: rounded(median(restarts), 3) }),
    ...(waits.length === 0 ? {} : { starvationMs: rounded(Math.max(...waits)) }),
  };
}

/** Undefined when the divisor is 0: a system that did nothing is no yardstick. */
function ratio(ours: number, peers: number): number | undefined {
  return peers > 0 ? ours / peers : undefined;
}

/** Ratios of the runs that followed each other. */
function pairRatios(
  ours: readonly Sample[],
  peers: readonly Sample[],
  valueOf: (sample: Sample) => number,
): number[] {
  return ours
    .map((sample, run) => {
      const other = peers[run];
      return other === undefined ? undefined : ratio(valueOf(sample), valueOf(other));
    })
    .filter((value) => value !== undefined);
}

/** The samples of one cell and who measured them. */
export interface CellResults {
  readonly cell: Cell;
  readonly ours: readonly Sample[];
  readonly oursFacts: SystemFacts;
  /** Absent or empty: there is no peer. */
  readonly peers: readonly Sample[];
  readonly peerFacts: SystemFacts | undefined;
}

export function resultLine(results: CellResults): ResultLine {
  const { cell, peers, peerFacts } = results;
  const unit = cell.work === 'scan' ? 'rows' : 'operations';
  const ours = summarize(results.ours, results.oursFacts);
  const { work, outstanding } = cell;
  if (peerFacts === undefined || peers.length === 0) return { work, outstanding, ours, unit };
  const peer = summarize(peers, peerFacts);
  const throughput = ratio(ours.opsPerSecond, peer.opsPerSecond);
  const p99 = ratio(ours.p99Ms, peer.p99Ms);
  const throughputs = pairRatios(results.ours, peers, (sample) => sample.opsPerSecond);
  const p99s = pairRatios(results.ours, peers, (sample) => sample.p99Ms);
  const hasSpread = throughputs.length > 0 && p99s.length > 0;
  return {
    work,
    outstanding,
    ours,
    peer,
    ...(throughput === undefined ? {} : { throughputRatio: rounded(throughput, 3) }),
    ...(p99 === undefined ? {} : { p99Ratio: rounded(p99, 3) }),
    ...(hasSpread
      ? { ratioSpread: { throughput: roundedSpread(throughputs), p99: roundedSpread(p99s) } }
      : {}),
    unit,
  };
}
