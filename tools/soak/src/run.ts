import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CairnClient } from '@cairn/client';
import { startTestCluster, type TestCluster } from '@cairn/e2e';
import { SimRng } from '@cairn/runtime-sim';

import { MixedLoad } from './load.js';
import { isGrowing, trendOf, type Trend } from './trend.js';

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: string;
  readonly clients: number;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

export interface SoakResult {
  readonly cycles: number;
  readonly operations: number;
  readonly failed: number;
  readonly failures: readonly string[];
  /** By measure: the samples, one per cycle, without those of the warm-up, and their trend. */
  readonly measures: Readonly<Record<string, { readonly samples: readonly number[]; readonly trend: Trend }>>;
  readonly violations: readonly string[];
}

/** The time asked for has this many cycles of the same shape, the last of which are measured. */
const CYCLES = 24;
const MEASURED_CYCLES = 18;
/**
 * The others warm up, and more of them in a short run: until logs have as many segments as they keep, and
 * engines as much that is dead as is worth a merge, everything grows.
 */
const WARM_UP_MS_MIN = 180_000;
/** Cut while the run warms up: ranges are themselves a slope. */
const RANGES = 12;
/** How much of itself a measure may gain over a run, noise included, by the ending of its name. */
const GROWTH_MAX: Readonly<Record<string, number>> = { memory: 0.2, handles: 0.1, disk: 0.3, p99: 1 };
const MIB = 1024 * 1024;

/** Puts a cluster under the same load again and again, with cuts and restarts, and looks for slopes. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const test = await startTestCluster({ metadata: 3, shards: 3, routers: 2, restart: false });
  try {
    return await new SoakRun(options, test).run();
  } finally {
    await test.stop();
  }
}

class SoakRun {
  readonly #options: SoakOptions;
  readonly #test: TestCluster;
  readonly #client: CairnClient;
  readonly #loads: readonly MixedLoad[];
  readonly #samples = new Map<string, number[]>();

  constructor(options: SoakOptions, test: TestCluster) {
    this.#options = options;
    this.#test = test;
    this.#client = test.client();
    this.#loads = Array.from(
      { length: options.clients },
      (_, at) => new MixedLoad(test.client(), new SimRng(`${options.seed}/load ${at}`)),
    );
  }

  async run(): Promise<SoakResult> {
    const { minutes, signal, say } = this.#options;
    const cycleMs = (minutes * 60_000) / CYCLES;
    const warmUpCycles = Math.max(CYCLES - MEASURED_CYCLES, Math.ceil(WARM_UP_MS_MIN / cycleMs));
    const cycles = warmUpCycles + MEASURED_CYCLES;
    // Old versions go soon: else ten minutes of them would be a slope of their own.
    await this.#client.putSetting('gc.life_seconds', '10');
    for (const load of this.#loads) load.start();
    let cycle = 0;
    let ranges = 0;
    for (; cycle < cycles && !signal.aborted; cycle += 1) {
      const endMs = performance.now() + cycleMs;
      const rangesDue = Math.min(RANGES, Math.ceil((RANGES * (cycle + 1)) / warmUpCycles));
      for (; ranges < rangesDue; ranges += 1) {
        await this.#client.splitRanges([`key/${String(ranges * 1_500).padStart(6, '0')}`]);
      }
      await this.#restartOne(cycle);
      for (const load of this.#loads) load.takeLatenciesMs();
      await delay(Math.max(0, endMs - performance.now()), undefined, { signal }).catch(() => undefined);
      this.#sample();
      say(`cycle ${cycle + 1} of ${cycles}: ${this.#describe()}`);
    }
    await Promise.all(this.#loads.map((load) => load.stop()));
    return this.#judge(cycle, warmUpCycles);
  }

  /** By turns: one shard node is killed, another is told to stop, a router too; each comes back. */
  async #restartOne(cycle: number): Promise<void> {
    const { cluster } = this.#test;
    const name = ['shard-1', 'shard-2', 'router-1', 'shard-3', 'metadata-2'][cycle % 5] as string;
    await cluster.kill(name, cycle % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
    await cluster.restart(name);
  }

  #sample(): void {
    const { cluster } = this.#test;
    // Whoever was restarted is small for a while: the sum of all smooths that, as each has its turn.
    let memory = 0;
    let handles = 0;
    let disk = 0;
    for (const { name, dataDirectory } of cluster.nodes) {
      const processId = cluster.processId(name);
      if (processId !== undefined) {
        memory += residentMib(processId);
        handles += readdirSync(`/proc/${processId}/fd`).length;
      }
      if (dataDirectory !== '') disk += bytesBelow(dataDirectory) / MIB;
    }
    this.#add('memory', memory);
    this.#add('handles', handles);
    this.#add('disk', disk);
    const latencies = this.#loads.flatMap((load) => load.takeLatenciesMs()).sort((one, other) => one - other);
    this.#add('p99', latencies[Math.floor(latencies.length * 0.99)] ?? 0);
  }

  #add(measure: string, sample: number): void {
    const samples = this.#samples.get(measure) ?? [];
    samples.push(sample);
    this.#samples.set(measure, samples);
  }

  #describe(): string {
    const units: Readonly<Record<string, string>> = { memory: 'MiB', handles: '', disk: 'MiB', p99: 'ms' };
    return [...this.#samples]
      .map(([name, samples]) => `${name} ${(samples.at(-1) ?? 0).toFixed(0)} ${units[name] ?? ''}`.trim())
      .join(', ');
  }

  #judge(cycles: number, warmUpCycles: number): SoakResult {
    const violations: string[] = [];
    const measures: Record<string, { samples: readonly number[]; trend: Trend }> = {};
    for (const [name, all] of this.#samples) {
      const samples = all.slice(warmUpCycles);
      const trend = trendOf(samples);
      measures[name] = { samples, trend };
      if (!isGrowing(trend, GROWTH_MAX[name] ?? 0)) continue;
      const percent = Math.round(trend.growth * 100);
      violations.push(`${name} grew by ${percent} % over the run (z ${trend.z.toFixed(1)})`);
    }
    const failed = this.#loads.reduce((sum, load) => sum + load.failed, 0);
    if (failed > 0) violations.push(`${failed} operations failed`);
    const operations = this.#loads.reduce((sum, load) => sum + load.operations, 0);
    const failures = this.#loads.flatMap((load) => load.failures);
    return { cycles, operations, failed, failures, measures, violations };
  }
}

function residentMib(processId: number): number {
  const text = readFileSync(`/proc/${processId}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) / 1024;
}

/** Bytes of all files; one that goes while we look counts for nothing. */
function bytesBelow(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    bytes += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}
