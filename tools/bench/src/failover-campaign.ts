import { median, rounded, spreadOf, type Spread } from './statistics.js';
import type { BenchSystem } from './system.js';
import type { FailoverResult } from './failover.js';

/** Call timeout of the writers, on both sides. */
export const FAILOVER_TIMEOUT_MS = 100;
/** Few: enough that one is always about to ask, not enough to load the machine. */
export const FAILOVER_WRITERS = 4;

/** What a system is to do for one failover. */
export interface FailoverSpec {
  readonly writers: number;
  readonly timeoutMs: number;
  readonly warmupMs: number;
}

/** Repeated failovers of one system. */
export interface FailoverSummary {
  readonly system: string;
  readonly version: string;
  /** The median; smallest and largest beside it. */
  readonly gapMs: number;
  readonly spreadMs: Spread;
  readonly runs: number;
  /** Puts that failed in the gaps, all runs together. */
  readonly failures: number;
}

/** One line of `--json`. */
export interface FailoverLine {
  readonly work: 'failover';
  readonly writers: number;
  readonly timeoutMs: number;
  readonly ours: FailoverSummary;
  readonly peer?: FailoverSummary;
  /** Median gap of ours divided by that of the peer: below 1 is faster. */
  readonly gapRatio?: number;
  /** Smallest and largest ratio of two failovers that followed each other. */
  readonly ratioSpread?: Spread;
}

export interface FailoverCampaignOptions {
  readonly ours: BenchSystem;
  readonly peer: BenchSystem | undefined;
  readonly repetitions: number;
  readonly warmupMs: number;
  readonly signal: AbortSignal;
  readonly onRun: (text: string) => void;
}

function summaryOf(system: BenchSystem, results: readonly FailoverResult[]): FailoverSummary {
  const gaps = results.map(({ gapMs }) => gapMs);
  const [min, max] = spreadOf(gaps);
  return {
    system: system.name,
    version: system.version,
    gapMs: rounded(median(gaps)),
    spreadMs: [rounded(min), rounded(max)],
    runs: results.length,
    failures: results.reduce((sum, { failures }) => sum + failures, 0),
  };
}

/** Failovers of ours and of the peer in turn. */
export class FailoverCampaign {
  readonly #options: FailoverCampaignOptions;
  readonly #ours: FailoverResult[] = [];
  readonly #peers: FailoverResult[] = [];

  constructor(options: FailoverCampaignOptions) {
    this.#options = options;
  }

  /** @throws what a failover throws; what was measured until then can still be had. */
  async run(): Promise<void> {
    const { ours, peer, repetitions } = this.#options;
    for (let repetition = 0; repetition < repetitions; repetition += 1) {
      await this.#one(ours, this.#ours, repetition);
      if (peer !== undefined) await this.#one(peer, this.#peers, repetition);
    }
  }

  /** What was measured; undefined before the first failover. */
  result(): FailoverLine | undefined {
    const { ours, peer } = this.#options;
    if (this.#ours.length === 0) return undefined;
    const common = { work: 'failover', writers: FAILOVER_WRITERS, timeoutMs: FAILOVER_TIMEOUT_MS } as const;
    const own = summaryOf(ours, this.#ours);
    if (peer === undefined || this.#peers.length === 0) return { ...common, ours: own };
    const other = summaryOf(peer, this.#peers);
    const ratios = this.#ours.flatMap(({ gapMs }, run) => {
      const theirs = this.#peers[run];
      return theirs === undefined ? [] : [gapMs / theirs.gapMs];
    });
    const [min, max] = spreadOf(ratios);
    return {
      ...common,
      ours: own,
      peer: other,
      gapRatio: rounded(own.gapMs / other.gapMs, 3),
      ratioSpread: [rounded(min, 3), rounded(max, 3)],
    };
  }

  async #one(system: BenchSystem, results: FailoverResult[], repetition: number): Promise<void> {
    const { signal, warmupMs, repetitions, onRun } = this.#options;
    signal.throwIfAborted();
    const result = await system.failover({
      writers: FAILOVER_WRITERS,
      timeoutMs: FAILOVER_TIMEOUT_MS,
      warmupMs,
    });
    results.push(result);
    const gap = result.gapMs.toFixed(0);
    onRun(`${repetition + 1}/${repetitions} failover ${system.name}: ${gap} ms without a success`);
  }
}
