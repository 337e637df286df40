import { resultLine, type ResultLine, type SystemFacts } from './results.js';
import type { BenchSystem, Sample } from './system.js';
import { versusLine } from './versus.js';
import { baselinesOf, type Cell } from './works.js';

/** What to measure, in which order. */
export interface CampaignOptions {
  readonly ours: BenchSystem;
  readonly peer: BenchSystem | undefined;
  readonly cells: readonly Cell[];
  readonly repetitions: number;
  readonly warmupMs: number;
  readonly durationMs: number;
  /** No further run begins once this is aborted. */
  readonly signal: AbortSignal;
  /** Hears of each run: for progress. */
  readonly onRun: (text: string) => void;
}

interface CellRuns {
  readonly ours: Sample[];
  readonly peers: Sample[];
  oursBytes: Record<string, number>;
  peerBytes: Record<string, number>;
}

function factsOf(system: BenchSystem, cell: Cell, rssBytes: Record<string, number>): SystemFacts {
  const { name, version } = system;
  return { system: name, version, driver: system.driverOf(cell.work), rssBytes };
}

/**
 * The runs of a campaign. All cells are gone through once per repetition, and within a cell the systems
 * follow each other: a bad minute of the machine then hits one repetition of some cells, in both systems,
 * and not all runs of one.
 */
export class Campaign {
  readonly #options: CampaignOptions;
  readonly #runs: Map<Cell, CellRuns>;

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#runs = new Map(
      options.cells.map((cell) => [cell, { ours: [], peers: [], oursBytes: {}, peerBytes: {} }]),
    );
  }

  /** @throws what a run throws; what was measured until then can still be had. */
  async run(): Promise<void> {
    const { ours, peer, repetitions } = this.#options;
    for (let repetition = 0; repetition < repetitions; repetition += 1) {
      for (const [cell, runs] of this.#runs) {
        runs.ours.push(await this.#runOne(ours, cell, repetition));
        runs.oursBytes = ours.residentBytes();
        if (peer?.canRun(cell.work) !== true) continue;
        runs.peers.push(await this.#runOne(peer, cell, repetition));
        runs.peerBytes = peer.residentBytes();
      }
    }
  }

  /** The cells that were measured at least once. */
  results(): ResultLine[] {
    const { ours, peer } = this.#options;
    return [...this.#runs]
      .filter(([, runs]) => runs.ours.length > 0)
      .map(([cell, runs]) => ({
        ...resultLine({
          cell,
          ours: runs.ours,
          oursFacts: factsOf(ours, cell, runs.oursBytes),
          peers: runs.peers,
          peerFacts: peer === undefined ? undefined : factsOf(peer, cell, runs.peerBytes),
        }),
        ...this.#versus(cell, runs.ours),
      }));
  }

  /** How a cell compares with those that it is to be compared with. */
  #versus(cell: Cell, ours: readonly Sample[]): Pick<ResultLine, 'versus'> {
    const found = baselinesOf(cell.work).flatMap((work) => {
      const baseline = [...this.#runs].find(
        ([each]) => each.work === work && each.outstanding === cell.outstanding,
      );
      return baseline === undefined ? [] : versusLine(work, ours, baseline[1].ours);
    });
    return found.length === 0 ? {} : { versus: found };
  }

  async #runOne(system: BenchSystem, cell: Cell, repetition: number): Promise<Sample> {
    const { warmupMs, durationMs, repetitions, signal, onRun } = this.#options;
    signal.throwIfAborted();
    // The same seed for both systems: they get the same keys in the same order.
    const sample = await system.run({ ...cell, warmupMs, durationMs, seed: repetition });
    const rate = Math.round(sample.opsPerSecond).toLocaleString('en-US');
    const trouble = sample.errors > 0 ? `, ${sample.errors} errors (${sample.firstError})` : '';
    onRun(
      `${cell.work} ${cell.outstanding}, run ${repetition + 1} of ${repetitions}, ${system.name}: ` +
        `${rate}/s, p50 ${sample.p50Ms.toFixed(2)} ms, p99 ${sample.p99Ms.toFixed(2)} ms${trouble}`,
    );
    return sample;
  }
}
