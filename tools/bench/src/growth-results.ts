import { median, rounded, spreadOf, type Spread } from './statistics.js';
import type { Sample } from './system.js';
import { columns, showNumber, showRate } from './tables.js';

/** Runs of one size: medians and spread. */
export interface SizeSummary {
  readonly size: number;
  readonly opsPerSecond: number;
  readonly spread: Spread;
  readonly p99Ms: number;
  readonly errors: number;
  /** By role and `total`; medians. */
  readonly cpuUsPerOp: Readonly<Record<string, number>>;
  readonly rssBytes: Readonly<Record<string, number>>;
}

/** One line of `--json`. */
export type GrowthLine =
  | {
      readonly part: 'ranges' | 'keys';
      readonly work: 'put' | 'get';
      readonly outstanding: number;
      readonly small: SizeSummary;
      readonly large: SizeSummary;
      readonly runs: number;
      /** Median throughput of the large size divided by that of the small one. */
      readonly throughputRatio: number;
      /** CPU per operation, all processes together, of the large size divided by that of the small one. */
      readonly cpuRatio?: number;
    }
  | {
      readonly part: 'idle';
      readonly ranges: number;
      readonly seconds: number;
      /** It became quiet before; otherwise it was watched after the time for that was over. */
      readonly wasQuiet: boolean;
      /** By process: share of one core, resident bytes at the end. */
      readonly processes: Readonly<Record<string, { readonly cores: number; readonly rssBytes: number }>>;
    };

/** The runs of one size. At least one. */
export function summarizeSize(
  size: number,
  samples: readonly Sample[],
  rssBytes: Readonly<Record<string, number>>,
): SizeSummary {
  const rates = samples.map(({ opsPerSecond }) => opsPerSecond);
  const [min, max] = spreadOf(rates);
  const roles = new Set(samples.flatMap(({ cpuUsPerOp }) => Object.keys(cpuUsPerOp)));
  const cpuUsPerOp: Record<string, number> = {};
  for (const role of roles) {
    const values = samples.flatMap((sample) => sample.cpuUsPerOp[role] ?? []);
    cpuUsPerOp[role] = rounded(median(values), 3);
  }
  return {
    size,
    opsPerSecond: rounded(median(rates)),
    spread: [rounded(min), rounded(max)],
    p99Ms: rounded(median(samples.map(({ p99Ms }) => p99Ms))),
    errors: samples.reduce((sum, { errors }) => sum + errors, 0),
    cpuUsPerOp,
    rssBytes,
  };
}

/** A pair of sizes as a line. */
export function pairLine(
  what: { readonly part: 'ranges' | 'keys'; readonly work: 'put' | 'get'; readonly outstanding: number },
  small: SizeSummary,
  large: SizeSummary,
  runs: number,
): GrowthLine {
  const [smallCpu, largeCpu] = [small.cpuUsPerOp['total'], large.cpuUsPerOp['total']];
  const hasCpu = smallCpu !== undefined && largeCpu !== undefined && smallCpu > 0;
  return {
    ...what,
    small,
    large,
    runs,
    throughputRatio: small.opsPerSecond > 0 ? rounded(large.opsPerSecond / small.opsPerSecond, 3) : 0,
    ...(hasCpu ? { cpuRatio: rounded(largeCpu / smallCpu, 3) } : {}),
  };
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

function shardMemory(rssBytes: Readonly<Record<string, number>>): string {
  const shards = Object.entries(rssBytes).filter(([name]) => name.startsWith('shard'));
  return shards.map(([, bytes]) => mebibytes(bytes)).join(' ');
}

function showPair(line: Extract<GrowthLine, { part: 'ranges' | 'keys' }>): string[] {
  const titles = ['/s', 'min..max', 'p99 ms', 'CPU µs/op', 'errors', 'shard nodes MiB'];
  const rows = [line.small, line.large].map((size) => [
    `${line.work}, ${showRate(size.size)} ${line.part}`,
    showRate(size.opsPerSecond),
    size.spread.map(showRate).join('..'),
    showNumber(size.p99Ms),
    size.cpuUsPerOp['total'] === undefined ? '' : showNumber(size.cpuUsPerOp['total']),
    String(size.errors),
    shardMemory(size.rssBytes),
  ]);
  const cpu = line.cpuRatio === undefined ? '' : `, CPU per operation ${showNumber(line.cpuRatio)}`;
  return [
    ...columns([[`${line.outstanding} open`, ...titles], ...rows]),
    `ratio: throughput ${showNumber(line.throughputRatio)}${cpu}; medians of ${line.runs} runs in turn`,
  ];
}

function showIdle(line: Extract<GrowthLine, { part: 'idle' }>): string[] {
  const rows = Object.entries(line.processes).map(([name, { cores, rssBytes }]) => [
    name,
    (cores * 100).toFixed(1),
    mebibytes(rssBytes),
  ]);
  const quiet = line.wasQuiet ? '' : ' ! It was not quiet yet.';
  return [
    ...columns([[`${showRate(line.ranges)} idle ranges`, '% of a core', 'MiB'], ...rows]),
    `over ${line.seconds} s.${quiet}`,
  ];
}

/** Shows the results to people. */
export function showGrowth(lines: readonly GrowthLine[]): string {
  const parts = lines.map((line) => (line.part === 'idle' ? showIdle(line) : showPair(line)));
  return `${parts.map((part) => part.join('\n')).join('\n\n')}\n`;
}
