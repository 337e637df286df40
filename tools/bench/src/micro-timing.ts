import type { MicroBenchmark } from '@cairn/base';
import { median, rounded, spreadOf, type Spread } from './statistics.js';

export interface MicroResult {
  readonly name: string;
  /** Median of the rounds. */
  readonly nsPerOperation: number;
  readonly spread: Spread;
  readonly rounds: number;
}

export interface MicroRounds {
  readonly rounds: number;
  readonly roundMs: number;
}

const NS_PER_MS = 1_000_000;

/** Calls until a round is over; resolves with nanoseconds per operation. */
async function timeRound(benchmark: MicroBenchmark, roundMs: number, nowMs: () => number): Promise<number> {
  const startMs = nowMs();
  let calls = 0;
  let elapsedMs = 0;
  // The clock is asked after 1, 2, 4, … calls, so that it is no part of what is measured.
  for (let step = 1; elapsedMs < roundMs; step = Math.min(step * 2, stepsLeft(calls, elapsedMs, roundMs))) {
    for (let call = 0; call < step; call += 1) {
      const answer = benchmark.run();
      if (answer instanceof Promise) await answer;
    }
    calls += step;
    elapsedMs = nowMs() - startMs;
  }
  return (elapsedMs * NS_PER_MS) / (calls * benchmark.operations);
}

/** So many more calls fit into the round, as far as one can tell; at least one. */
function stepsLeft(calls: number, elapsedMs: number, roundMs: number): number {
  if (elapsedMs <= 0) return calls * 2 + 1;
  return Math.max(1, Math.ceil((calls * (roundMs - elapsedMs)) / elapsedMs));
}

/** One round that does not count, for the compiler, and then those that do. */
export async function timeBenchmark(
  benchmark: MicroBenchmark,
  { rounds, roundMs }: MicroRounds,
  nowMs: () => number = () => performance.now(),
): Promise<MicroResult> {
  await timeRound(benchmark, roundMs, nowMs);
  const timed: number[] = [];
  for (let round = 0; round < rounds; round += 1) timed.push(await timeRound(benchmark, roundMs, nowMs));
  const [min, max] = spreadOf(timed);
  return {
    name: benchmark.name,
    nsPerOperation: rounded(median(timed)),
    spread: [rounded(min), rounded(max)],
    rounds,
  };
}
