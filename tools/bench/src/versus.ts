import { median, rounded, spreadOf, type Spread } from './statistics.js';
import type { Sample } from './system.js';
import type { WorkName } from './works.js';

/** How a work compares with another one of the same system and with as many open operations. */
export interface VersusLine {
  readonly work: WorkName;
  /** Operations per second divided by those of the other work: above 1 is faster. */
  readonly throughputRatio: number;
  /** Smallest and largest of the same ratio in one repetition. */
  readonly throughputSpread: Spread;
  readonly p99Ratio: number;
  /** CPU of all processes per operation; left out where processes cannot be seen. */
  readonly cpuRatio?: number;
}

/** The ratios of the repetitions that both have. */
function ratios(
  ours: readonly Sample[],
  others: readonly Sample[],
  valueOf: (sample: Sample) => number,
): number[] {
  return ours.flatMap((sample, run) => {
    const other = others[run];
    return other === undefined || !(valueOf(other) > 0) ? [] : [valueOf(sample) / valueOf(other)];
  });
}

/** None when the other work did nothing: it is no yardstick. Medians of the ratios of single repetitions. */
export function versusLine(
  work: WorkName,
  ours: readonly Sample[],
  others: readonly Sample[],
): [] | [VersusLine] {
  const throughput = ratios(ours, others, (sample) => sample.opsPerSecond);
  const p99 = ratios(ours, others, (sample) => sample.p99Ms);
  const cpu = ratios(ours, others, (sample) => sample.cpuUsPerOp['total'] ?? 0);
  if (throughput.length === 0 || p99.length === 0) return [];
  const [low, high] = spreadOf(throughput);
  const line = {
    work,
    throughputRatio: rounded(median(throughput), 3),
    throughputSpread: [rounded(low, 3), rounded(high, 3)] as const,
    p99Ratio: rounded(median(p99), 3),
  };
  return [cpu.length === 0 ? line : { ...line, cpuRatio: rounded(median(cpu), 3) }];
}
