import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CairnSystem } from './cairn-system.js';
import type { Experiment } from './experiment.js';
import { growthConfig, pairOf, partsOf, type GrowthConfig, type GrowthPart } from './growth-config.js';
import { isQuiet } from './growth-plan.js';
import { pairLine, showGrowth, summarizeSize, type GrowthLine } from './growth-results.js';
import { cpuBetween, residentBytes, snapshotCpu } from './process-stats.js';
import type { Stage } from './stage.js';
import type { Sample } from './system.js';

/** Windows in which a cluster is watched for getting quiet. */
const QUIET_WINDOW_MS = 5_000;
const US_PER_S = 1_000_000;

interface Scene {
  readonly stage: Stage;
  readonly config: GrowthConfig;
  readonly directory: string;
  readonly onLine: (line: GrowthLine) => void;
}

/** A cluster of its own, loaded and split. */
async function startCluster(
  { stage, config, directory }: Scene,
  name: string,
  size: { readonly keys: number; readonly ranges: number },
): Promise<CairnSystem> {
  const { keys, ranges } = size;
  const system = await stage.start(`Starting a cluster for ${name} …`, () =>
    CairnSystem.start({
      endpoints: [],
      engine: config.engine,
      dataDirectory: join(directory, name.replaceAll(/\W+/g, '-')),
      keys,
      valueBytes: config.valueBytes,
      kvload: '',
      children: stage.children,
      stopRequested: stage.stopRequested,
    }),
  );
  stage.say(`Loading ${keys.toLocaleString('en-US')} keys …`);
  await stage.unlessInterrupted(system.preload());
  if (ranges > 1) {
    const split = system.splitEvenly(ranges, (done) => {
      if (done % 1_000 === 0 || done === ranges) stage.say(`  ${done} of ${ranges} ranges`);
    });
    await stage.unlessInterrupted(split);
  }
  await stage.unlessInterrupted(system.waitSettled());
  return system;
}

interface Side {
  readonly size: number;
  readonly system: CairnSystem;
}

/** Both sides in turn: a bad minute of the machine hits both. */
async function runInTurn(
  scene: Scene,
  what: { readonly part: 'ranges' | 'keys'; readonly work: 'put' | 'get'; readonly outstanding: number },
  small: Side,
  large: Side,
): Promise<void> {
  const { stage, config } = scene;
  const runs = new Map<Side, Sample[]>([
    [small, []],
    [large, []],
  ]);
  for (let repetition = 0; repetition < config.repetitions; repetition += 1) {
    for (const [side, samples] of runs) {
      stage.signal.throwIfAborted();
      const spec = {
        work: what.work,
        outstanding: what.outstanding,
        warmupMs: config.warmup * 1_000,
        durationMs: config.duration * 1_000,
        seed: repetition,
      };
      const sample = await stage.unlessInterrupted(side.system.run(spec));
      samples.push(sample);
      stage.say(
        `  ${what.work}, ${side.size} ${what.part}, run ${repetition + 1} of ${config.repetitions}: ` +
          `${Math.round(sample.opsPerSecond)}/s, p99 ${sample.p99Ms.toFixed(1)} ms`,
      );
    }
  }
  const [smallSize, largeSize] = [small, large].map((side) =>
    summarizeSize(side.size, runs.get(side) ?? [], side.system.residentBytes()),
  );
  if (smallSize === undefined || largeSize === undefined) return;
  scene.onLine(pairLine(what, smallSize, largeSize, config.repetitions));
}

async function runRanges(scene: Scene): Promise<void> {
  const { stage, config } = scene;
  const [few, many] = pairOf(config.ranges);
  const keys = config.rangeKeys;
  const small = { size: few, system: await startCluster(scene, `${few} ranges`, { keys, ranges: few }) };
  const large = { size: many, system: await startCluster(scene, `${many} ranges`, { keys, ranges: many }) };
  const { outstanding } = config;
  await runInTurn(scene, { part: 'ranges', work: 'put', outstanding }, small, large);
  for (const { system } of [small, large]) await stage.end(system);
}

async function runKeys(scene: Scene): Promise<void> {
  const { stage, config } = scene;
  const [few, many] = pairOf(config.keys);
  const small = { size: few, system: await startCluster(scene, `${few} keys`, { keys: few, ranges: 1 }) };
  const large = { size: many, system: await startCluster(scene, `${many} keys`, { keys: many, ranges: 1 }) };
  for (const work of ['put', 'get'] as const) {
    await runInTurn(scene, { part: 'keys', work, outstanding: config.keysOutstanding }, small, large);
  }
  for (const { system } of [small, large]) await stage.end(system);
}

/** Cores that each of the processes used in so many milliseconds. */
async function watchCores(
  stage: Stage,
  ids: ReadonlyMap<string, number>,
  windowMs: number,
): Promise<Map<string, number>> {
  const before = snapshotCpu([...ids.values()], performance.now());
  await delay(windowMs, undefined, { signal: stage.signal });
  const after = snapshotCpu([...ids.values()], performance.now());
  const { processesUs } = cpuBetween(before, after);
  const elapsedUs = ((after.atMs - before.atMs) / 1_000) * US_PER_S;
  return new Map(
    [...ids].map(([name, processId]) => [name, (processesUs[String(processId)] ?? 0) / elapsedUs]),
  );
}

async function waitQuiet(stage: Stage, ids: ReadonlyMap<string, number>, limitMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + limitMs;
  const totals: number[] = [];
  while (performance.now() < deadlineMs) {
    const cores = await watchCores(stage, ids, QUIET_WINDOW_MS);
    totals.push([...cores.values()].reduce((sum, each) => sum + each, 0));
    stage.say(`  all processes together: ${((totals.at(-1) ?? 0) * 100).toFixed(1)} % of a core`);
    if (isQuiet(totals)) return true;
  }
  return false;
}

async function runIdle(scene: Scene): Promise<void> {
  const { stage, config } = scene;
  const ranges = config.idleRanges;
  const system = await startCluster(scene, `${ranges} idle ranges`, { keys: config.rangeKeys, ranges });
  const ids = system.processIds();
  stage.say('Waiting until it is quiet …');
  const wasQuiet = await waitQuiet(stage, ids, config.quietSeconds * 1_000);
  const seconds = config.idleSeconds;
  const cores = await watchCores(stage, ids, seconds * 1_000);
  const processes: Record<string, { cores: number; rssBytes: number }> = {};
  for (const [name, processId] of ids) {
    processes[name] = { cores: cores.get(name) ?? 0, rssBytes: residentBytes(processId) ?? 0 };
  }
  scene.onLine({ part: 'idle', ranges, seconds, wasQuiet, processes });
  await stage.end(system);
}

function runPart(scene: Scene, part: GrowthPart): Promise<void> {
  switch (part) {
    case 'ranges':
      return runRanges(scene);
    case 'idle':
      return runIdle(scene);
    case 'keys':
      return runKeys(scene);
  }
}

/** `npm run bench -- growth`. */
export const growth: Experiment<typeof growthConfig.schema> = {
  config: growthConfig,
  async run(stage, config) {
    const lines: GrowthLine[] = [];
    const code = await stage.run(config.dataDir, async (directory) => {
      const scene = { stage, config, directory, onLine: (line: GrowthLine) => void lines.push(line) };
      for (const part of partsOf(config)) await runPart(scene, part);
    });
    if (lines.length === 0) return code;
    if (config.json) for (const line of lines) stage.out(`${JSON.stringify(line)}\n`);
    else stage.out(`\n${showGrowth(lines)}`);
    return code;
  },
};
