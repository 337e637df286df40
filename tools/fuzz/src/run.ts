import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { RangeId } from '@cairn/base';
import type { CairnClient } from '@cairn/client';
import { startTestCluster, type TestCluster } from '@cairn/e2e';
import { SimRng } from '@cairn/runtime-sim';

import { Bystander, BYSTANDER_PREFIX } from './bystander.js';
import { CliFuzzer } from './cli-fuzzer.js';
import { Counts } from './counts.js';
import { FrameFuzzer } from './frame-fuzzer.js';
import { GrpcFuzzer } from './grpc-fuzzer.js';
import { HttpFuzzer } from './http-fuzzer.js';
import { pick } from './mutate.js';

export const TARGETS = ['frames', 'grpc', 'http', 'cli'] as const;
export type Target = (typeof TARGETS)[number];

export interface FuzzOptions {
  readonly seed: string;
  /** Ends after this time, or after so many steps. */
  readonly durationMs: number;
  readonly stepsMax: number;
  readonly targets: readonly Target[];
  readonly signal?: AbortSignal;
  /** Progress, a line each. */
  readonly say?: (text: string) => void;
}

export interface FuzzResult {
  readonly seed: string;
  readonly steps: number;
  readonly counts: readonly [string, number][];
  /** Empty = everything held. */
  readonly violations: readonly string[];
  readonly bystander: { readonly operations: number; readonly p99BeforeMs: number; readonly p99Ms: number };
  /** Resident memory by process, MiB: before, the most, after it settled. */
  readonly memory: Readonly<Record<string, readonly [number, number, number]>>;
}

/** How often each target has its turn. A run of the command line takes as long as a hundred frames. */
const SHARES: Readonly<Record<Target, number>> = { frames: 60, grpc: 60, http: 30, cli: 1 };
const QUIET_MS = 2_000;
const SETTLE_MS = 20_000;
/** What a process may keep more than before: caches fill, and heaps grow in steps. */
const MEMORY_GROWTH_MAX_MIB = 256;
/** A bystander waits no longer, whatever the machine does beside. */
const BYSTANDER_P99_MAX_MS = 2_000;
/** Lines that input causes have a budget. */
const LOG_BYTES_PER_SECOND_MAX = 64 * 1024;
const VIOLATIONS_MAX = 20;
const MIB = 1024 * 1024;

/** Attacks a fresh cluster of real processes, and judges what is left of it. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzResult> {
  const cluster = await startTestCluster({ metadata: 1, shards: 3, routers: 1, restart: false });
  try {
    return await new FuzzRun(options, cluster).run();
  } finally {
    // A process that ended by itself is reported as a violation, and here again by the harness.
    await cluster.stop().catch((error: unknown) => options.say?.(String(error)));
  }
}

class FuzzRun {
  readonly #options: FuzzOptions;
  readonly #test: TestCluster;
  readonly #client: CairnClient;
  readonly #violations: string[] = [];
  readonly #counts = new Counts();
  readonly #memory = new Map<string, [number, number, number]>();
  readonly #processIds = new Map<string, number | undefined>();

  constructor(options: FuzzOptions, test: TestCluster) {
    this.#options = options;
    this.#test = test;
    this.#client = test.client();
  }

  readonly #violated = (text: string): void => {
    if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push(text);
  };

  async run(): Promise<FuzzResult> {
    const { seed, durationMs, say } = this.#options;
    const { clusterId } = await this.#client.status();
    await this.#client.splitRanges([BYSTANDER_PREFIX]);
    const [first] = await this.#client.ranges();
    const bystander = new Bystander(this.#client, this.#violated);
    bystander.start();
    await delay(QUIET_MS);
    const p99BeforeMs = bystander.takeP99Ms();
    this.#measure('before');
    const startedMs = performance.now();
    const steps = await this.#attack(clusterId, (first?.rangeId ?? 1) as RangeId);
    const elapsedMs = performance.now() - startedMs;
    const p99Ms = bystander.takeP99Ms();
    say?.(`${steps} steps in ${Math.round(elapsedMs / 1_000)} s; settling`);
    await this.#settle();
    await bystander.stop();
    await bystander.checkAll();
    this.#judge(p99Ms, Math.max(elapsedMs, durationMs / 10));
    return {
      seed,
      steps,
      counts: this.#counts.entries(),
      violations: this.#violations,
      bystander: { operations: bystander.operations, p99BeforeMs, p99Ms },
      memory: Object.fromEntries(this.#memory),
    };
  }

  async #attack(clusterId: string, rangeId: RangeId): Promise<number> {
    const { seed, durationMs, stepsMax, targets, signal, say } = this.#options;
    const rng = new SimRng(seed);
    const counts = this.#counts;
    const nodes = this.#test.cluster.nodes;
    const framed = nodes.filter(({ kind }) => kind !== 'router').map(({ address }) => address);
    const routers = this.#test.cluster.endpoints.routers;
    const onViolation = this.#violated;
    const grpc = new GrpcFuzzer({ rng: rng.fork('grpc'), counts, addresses: routers, onViolation });
    const fuzzers: Readonly<Record<Target, { step(): Promise<void> }>> = {
      frames: new FrameFuzzer({ rng: rng.fork('frames'), counts, addresses: framed, clusterId, rangeId }),
      grpc,
      http: new HttpFuzzer({
        rng: rng.fork('http'),
        counts,
        addresses: nodes.map((node) => node.httpAddress),
      }),
      cli: new CliFuzzer({ rng: rng.fork('cli'), counts, endpoint: routers[0] ?? '', onViolation }),
    };
    const turns = targets.flatMap((target) => Array.from({ length: SHARES[target] }, () => target));
    const endMs = performance.now() + durationMs;
    let steps = 0;
    let toldMs = performance.now();
    for (; steps < stepsMax && performance.now() < endMs && signal?.aborted !== true; steps += 1) {
      await fuzzers[pick(rng, turns)].step();
      if (steps % 50 === 0) this.#measure('most');
      if (this.#deadNodes().length > 0) break;
      if (performance.now() - toldMs < 10_000) continue;
      toldMs = performance.now();
      say?.(`${steps} steps, ${this.#violations.length} violations`);
    }
    grpc.close();
    return steps;
  }

  #deadNodes(): string[] {
    const { cluster } = this.#test;
    return cluster.nodes.map(({ name }) => name).filter((name) => cluster.processId(name) === undefined);
  }

  #measure(when: 'before' | 'most' | 'after'): void {
    const { cluster } = this.#test;
    for (const { name } of cluster.nodes) {
      const processId = cluster.processId(name);
      if (when === 'before') this.#processIds.set(name, processId);
      const mib = processId === undefined ? 0 : residentMib(processId);
      const known = this.#memory.get(name) ?? [mib, mib, mib];
      known[1] = Math.max(known[1], mib);
      known[2] = mib;
      this.#memory.set(name, known);
    }
  }

  /** Waits until memory is back within bounds, or it is clear that it will not be. */
  async #settle(): Promise<void> {
    const endMs = performance.now() + SETTLE_MS;
    do {
      await delay(500);
      this.#measure('after');
    } while (this.#grown().length > 0 && performance.now() < endMs);
  }

  #grown(): string[] {
    return [...this.#memory]
      .filter(([, [before, , after]]) => after - before > MEMORY_GROWTH_MAX_MIB)
      .map(
        ([name, [before, most, after]]) => `${name} grew from ${before} to ${after} MiB (at most ${most})`,
      );
  }

  #judge(p99Ms: number, elapsedMs: number): void {
    for (const name of this.#deadNodes()) {
      const end = this.#test.logLines(name).slice(-3).join('\n');
      this.#violated(`${name} ended:\n${end}`);
    }
    for (const text of this.#grown()) this.#violated(text);
    if (p99Ms > BYSTANDER_P99_MAX_MS) this.#violated(`a bystander waited ${Math.round(p99Ms)} ms (p99)`);
    for (const { name, logFile } of this.#test.cluster.nodes) {
      const log = readFileSync(logFile, 'utf8');
      const fatal = log.split('\n').find((line) => /"level":"fatal"|InvariantError/.test(line));
      if (fatal !== undefined) this.#violated(`${name} logged ${fatal.slice(0, 1_000)}`);
      const bytesMax = MIB + (LOG_BYTES_PER_SECOND_MAX * elapsedMs) / 1_000;
      if (log.length > bytesMax) this.#violated(`${name} logged ${log.length} bytes`);
    }
  }
}

/** Resident memory of a process; 0 when it is gone. */
function residentMib(processId: number): number {
  try {
    const text = readFileSync(`/proc/${processId}/status`, 'latin1');
    return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) / 1024);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
