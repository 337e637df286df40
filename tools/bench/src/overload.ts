import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CairnSystem } from './cairn-system.js';
import type { Experiment } from './experiment.js';
import { LoadProcess } from './load-process.js';
import { loopDelayP99Of } from './loop-delay.js';
import { overloadConfig, type OverloadConfig } from './overload-config.js';
import {
  changedLeaders,
  combineClients,
  overloadReport,
  showOverload,
  type Leaders,
  type OverloadSample,
} from './overload-results.js';
import type { Stage } from './stage.js';

const LEADER_POLL_MS = 500;

async function leadersOf(system: CairnSystem): Promise<Leaders> {
  return new Map((await system.ranges()).map(({ rangeId, leaderStoreId }) => [rangeId, leaderStoreId]));
}

/** Counts changes of leaders between looks. A look that fails under load leaves the next one to see it. */
class LeaderWatch {
  readonly #system: CairnSystem;
  #last: Leaders;
  #changes = 0;
  #isStopping = false;
  readonly #looking: Promise<void>;

  private constructor(system: CairnSystem, first: Leaders) {
    this.#system = system;
    this.#last = first;
    this.#looking = this.#look();
  }

  static async start(system: CairnSystem): Promise<LeaderWatch> {
    return new LeaderWatch(system, await leadersOf(system));
  }

  /** Takes a last look, and answers how many changes there were. */
  async count(): Promise<number> {
    await this.stop();
    this.#see(await leadersOf(this.#system));
    return this.#changes;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#looking;
  }

  async #look(): Promise<void> {
    while (!this.#isStopping) {
      await delay(LEADER_POLL_MS);
      const leaders = await leadersOf(this.#system).catch(() => undefined);
      if (leaders !== undefined) this.#see(leaders);
    }
  }

  #see(leaders: Leaders): void {
    this.#changes += changedLeaders(this.#last, leaders);
    // What is unknown for a moment is remembered as it was.
    this.#last = new Map(
      [...leaders].map(([range, leader]) => [range, leader === 0 ? (this.#last.get(range) ?? 0) : leader]),
    );
  }
}

/** Measures the largest throughput of the closed loops. */
async function bestOf(
  stage: Stage,
  system: CairnSystem,
  config: OverloadConfig,
  seed: number,
): Promise<number> {
  let best = 0;
  for (const outstanding of config.outstanding.split(',').map(Number)) {
    stage.signal.throwIfAborted();
    const sample = await stage.unlessInterrupted(
      system.run({
        work: 'put',
        outstanding,
        warmupMs: config.warmup * 1_000,
        durationMs: config.duration * 1_000,
        seed,
      }),
    );
    stage.say(`  closed loop, ${outstanding} open: ${Math.round(sample.opsPerSecond)}/s`);
    best = Math.max(best, sample.opsPerSecond);
  }
  return best;
}

/** p99 by server since the pages were read last. */
async function serverDelays(system: CairnSystem): Promise<Record<string, number>> {
  const delays: Record<string, number> = {};
  for (const [name, page] of await system.metrics()) {
    const p99Ms = loopDelayP99Of(page);
    if (p99Ms !== undefined) delays[name] = p99Ms;
  }
  return delays;
}

/** What the clients saw and how busy the event loops of the servers were, in one window. */
async function offer(
  { stage, system, clients }: OverloadParts,
  config: OverloadConfig,
  opsPerSecond: number,
  seed: number,
): Promise<ReturnType<typeof combineClients>> {
  const runs = clients.map((client, at) =>
    client.openLoop({
      kind: 'open',
      opsPerSecond: opsPerSecond / clients.length,
      warmupMs: config.warmup * 1_000,
      durationMs: config.duration * 1_000,
      openMax: config.openMax,
      seed: seed * clients.length + at,
    }),
  );
  const results = stage.unlessInterrupted(Promise.all(runs));
  // A client that fails while the window is open is heard of when it is closed.
  results.catch(() => undefined);
  // Reading a page resets what it shows: the first reading begins the window, a second one would split it.
  await stage.unlessInterrupted(delay(config.warmup * 1_000));
  await serverDelays(system);
  await stage.unlessInterrupted(delay(config.duration * 1_000));
  const delays = await serverDelays(system);
  const combined = combineClients(await results);
  return { ...combined, loopDelayP99Ms: { ...delays, ...combined.loopDelayP99Ms } };
}

interface OverloadParts {
  readonly stage: Stage;
  readonly system: CairnSystem;
  readonly clients: readonly LoadProcess[];
}

async function overloadOnce(
  parts: OverloadParts,
  config: OverloadConfig,
  bestPerSecond: number,
  seed: number,
): Promise<OverloadSample> {
  const watch = await LeaderWatch.start(parts.system);
  try {
    const offered = await offer(parts, config, bestPerSecond * config.factor, seed);
    const leaderChanges = await watch.count();
    parts.stage.say(
      `  open loop, ${Math.round(offered.offeredPerSecond)}/s offered: ` +
        `${Math.round(offered.goodputPerSecond)}/s accepted`,
    );
    return { ...offered, bestPerSecond, leaderChanges };
  } finally {
    await watch.stop();
  }
}

async function measure(
  stage: Stage,
  config: OverloadConfig,
  directory: string,
  samples: OverloadSample[],
): Promise<void> {
  const { keys, valueBytes, retries, engine } = config;
  const { children } = stage;
  const system = await stage.start('Starting Cairn …', () =>
    CairnSystem.start({
      endpoints: [],
      engine,
      dataDirectory: join(directory, 'cairn'),
      keys,
      valueBytes,
      kvload: '',
      children,
      stopRequested: stage.stopRequested,
    }),
  );
  stage.say(`Loading ${keys.toLocaleString('en-US')} keys …`);
  await stage.unlessInterrupted(system.preload());
  const setup = { system: 'cairn', endpoints: system.endpoints, keys, valueBytes, retries } as const;
  // They end with the stage, as all its children do.
  const clients = await Promise.all(
    Array.from({ length: config.clients }, () => LoadProcess.start(children, setup)),
  );
  for (let repetition = 0; repetition < config.repetitions; repetition += 1) {
    const best = await bestOf(stage, system, config, repetition);
    samples.push(await overloadOnce({ stage, system, clients }, config, best, repetition));
  }
}

/** `npm run bench -- overload`. */
export const overload: Experiment<typeof overloadConfig.schema> = {
  config: overloadConfig,
  async run(stage, config) {
    const samples: OverloadSample[] = [];
    const code = await stage.run(config.dataDir, (directory) => measure(stage, config, directory, samples));
    if (samples.length === 0) return code;
    const report = overloadReport(config.factor, samples);
    stage.out(config.json ? `${JSON.stringify(report)}\n` : `\n${showOverload(report)}`);
    return code;
  },
};
