import { join, resolve } from 'node:path';
import { assert } from '@cairn/base';
import { againstConfig, COMPARED_WORKS, type AgainstConfig } from './against-config.js';
import { showAgainst, type AgainstLine, type BuildRuns } from './against-results.js';
import { runToEnd } from './child-output.js';
import type { Experiment } from './experiment.js';
import { judgeRatios } from './paired-ratios.js';
import { buildReference, findCommit, NoReferenceError } from './reference-build.js';
import type { ResultLine, Summary } from './results.js';
import { EXIT, type Stage } from './stage.js';
import { median } from './statistics.js';

const ROOT = resolve(import.meta.dirname, '../../..');
/** Of one run: starting a cluster, loading it, stopping it. */
const AROUND_MS_MAX = 180_000;

type Work = (typeof COMPARED_WORKS)[number];
type Runs = Record<Work, Summary[]>;

/** One of the two builds, and what it has done so far. */
interface Build {
  readonly name: string;
  readonly root: string;
  readonly runs: Runs;
}

function newBuild(name: string, root: string): Build {
  return { name, root, runs: { put: [], get: [], scan: [] } };
}

function isCompared(work: string): work is Work {
  return COMPARED_WORKS.some((each) => each === work);
}

/**
 * One run of all works over a fresh cluster, by the benchmark that belongs to the build: its programs, its
 * client, its load generator. All that both have to agree on are flags and lines of JSON.
 */
async function runOne(stage: Stage, config: AgainstConfig, build: Build, directory: string): Promise<void> {
  const { duration, warmup, outstanding, keys, engine } = config;
  const script = join(build.root, 'tools/bench/dist/main.js');
  const flags = {
    works: COMPARED_WORKS.join(','),
    outstanding,
    duration,
    warmup,
    keys,
    engine,
    repetitions: 1,
    'data-dir': directory,
  };
  const argv = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const limitMs = COMPARED_WORKS.length * (duration + warmup) * 1_000 + AROUND_MS_MAX;
  const text = await runToEnd(stage.children, ['--enable-source-maps', script, ...argv, '--json'], {
    limitMs,
  });
  const lines = text.split('\n').filter((line) => line !== '');
  for (const line of lines.map((each) => JSON.parse(each) as ResultLine)) {
    if (isCompared(line.work)) build.runs[line.work].push(line.ours);
  }
}

function runsOf(summaries: readonly Summary[]): BuildRuns {
  return {
    opsPerSecond: median(summaries.map(({ opsPerSecond }) => opsPerSecond)),
    cpuUsPerOp: median(summaries.map(({ cpuUsPerOp }) => cpuUsPerOp['total'] ?? 0)),
    errors: summaries.reduce((sum, { errors }) => sum + errors, 0),
    otherCores: Math.max(0, ...summaries.map(({ otherCores }) => otherCores ?? 0)),
  };
}

function lineOf(work: Work, reference: Build, current: Build, floor: number): AgainstLine {
  const [before, after] = [reference.runs[work], current.runs[work]];
  assert(before.length === after.length, 'runs come in pairs');
  const ratios = after.map(({ opsPerSecond }, at) => opsPerSecond / (before[at]?.opsPerSecond ?? NaN));
  return {
    work,
    pairs: ratios.length,
    reference: runsOf(before),
    current: runsOf(after),
    throughputRatio: judgeRatios(ratios, floor),
  };
}

/** Both builds in turn, each pair in the opposite order of the one before: what drifts hits both alike. */
async function runPairs(
  stage: Stage,
  config: AgainstConfig,
  builds: readonly [Build, Build],
  directory: string,
): Promise<void> {
  for (let pair = 0; pair < config.repetitions; pair += 1) {
    const [first, second] = pair % 2 === 0 ? builds : ([builds[1], builds[0]] as const);
    for (const build of [first, second]) {
      stage.signal.throwIfAborted();
      stage.say(`Pair ${pair + 1} of ${config.repetitions}, ${build.name}`);
      await stage.unlessInterrupted(runOne(stage, config, build, directory));
    }
  }
}

/** `npm run bench -- against`. */
export const against: Experiment<typeof againstConfig.schema> = {
  config: againstConfig,
  async run(stage, config) {
    let hash: string;
    try {
      hash = findCommit(ROOT, config.commit);
    } catch (error) {
      if (!(error instanceof NoReferenceError)) throw error;
      stage.say(error.message);
      return EXIT.noReference;
    }
    const lines: AgainstLine[] = [];
    const code = await stage.run(config.dataDir, async (directory) => {
      const place = config.referenceDir === '' ? join(directory, 'reference') : resolve(config.referenceDir);
      stage.say(`Building the reference ${hash} in ${place} …`);
      await stage.unlessInterrupted(buildReference(stage.children, ROOT, hash, place));
      const builds = [newBuild('reference', place), newBuild('current', ROOT)] as const;
      await runPairs(stage, config, builds, directory);
      const floor = config.floorPercent / 100;
      lines.push(...COMPARED_WORKS.map((work) => lineOf(work, ...builds, floor)));
    });
    if (code !== EXIT.measured) return code;
    if (config.json) for (const line of lines) stage.out(`${JSON.stringify(line)}\n`);
    else stage.out(`\n${showAgainst(lines, config.floorPercent / 100)}`);
    return lines.some(({ throughputRatio }) => throughputRatio.verdict === 'lost') ? EXIT.slower : code;
  },
};
