import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import type { Violation } from '../observer.js';
import type { ChildTask, SeedReport } from './child.js';
import type { Mutant, MutantRun } from './mutant.js';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));
/** Runs of a group are a hundred times cheaper than runs of a cluster. */
const GROUP_SEEDS_PER_SEED = 100;
/** No child runs longer, whatever else was asked for. */
const CHILD_MS_MAX = 600_000;
/** One seed without a defect, on a busy machine. */
const BASELINE_MS_MAX = 120_000;
/** After an assertion of the product has caught a defect, so many more seeds may let a checker see it. */
const SEEDS_AFTER_ASSERTION = 3;
/** Violations that say no more than that the program noticed a contradiction in itself. */
const BY_ASSERTION = new Set(['fatal', 'start', 'stop', 'exception', 'assertion', 'client']);

export interface Catch {
  /** `assertion` when nothing but an assertion of the product noticed. */
  readonly by: string;
  readonly seed: string;
  readonly atMs: number;
  readonly message: string;
}

/**
 * - `caught`: by a run that finds nothing without the defect.
 * - `missed`: no seed showed it.
 * - `unsound`: the same seed fails without the defect, too.
 * - `broken`: it could not be run.
 */
export type Verdict =
  | { readonly type: 'caught'; readonly first: Catch }
  | { readonly type: 'missed'; readonly seeds: number }
  | { readonly type: 'unsound'; readonly seed: string; readonly message: string }
  | { readonly type: 'broken'; readonly message: string };

export interface RunnerOptions {
  readonly from: number;
  readonly to: number;
  /** Of the monotonic clock. */
  readonly endMs: number;
}

/** Runs a child over seeds until `isEnough`, its end, or the end of the time. */
async function runChild(
  task: ChildTask,
  endMs: number,
  isEnough: (report: SeedReport) => boolean,
): Promise<void> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', CHILD, JSON.stringify(task)],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const errors: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (errors.length < 50) errors.push(text);
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  let isStopped = false;
  const stop = (): void => {
    isStopped = true;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(stop, Math.min(CHILD_MS_MAX, Math.max(0, endMs - performance.now())));
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!isStopped && isEnough(JSON.parse(line) as SeedReport)) stop();
  });
  const code = await closed;
  clearTimeout(timer);
  if (!isStopped && code !== 0) throw new Error(errors.join('').trim() || `the child ended with ${code}`);
}

function catchOf(report: SeedReport): Catch | undefined {
  const first = report.violations.find(({ checker }) => !BY_ASSERTION.has(checker)) ?? report.violations[0];
  if (first === undefined) return undefined;
  const by = BY_ASSERTION.has(first.checker) ? 'assertion' : first.checker;
  return { by, seed: report.seed, atMs: first.atMs, message: first.message };
}

/** Looks for the first seed that shows a defect; a checker is preferred to an assertion. */
async function findCatch(
  mutant: Mutant,
  run: MutantRun,
  options: RunnerOptions,
): Promise<{ readonly found: Catch | undefined; readonly seeds: number }> {
  let found: Catch | undefined;
  let seeds = 0;
  let seedsLeft = Number.POSITIVE_INFINITY;
  const factor = run.type === 'group' ? GROUP_SEEDS_PER_SEED : 1;
  const skipped = (mutant.from ?? 1) - 1;
  const from = options.from + skipped;
  const task = {
    ...{ mutant: mutant.name, run },
    from,
    // All seeds of an exploration are the same one.
    to: run.type === 'explore' ? from : options.to * factor + skipped,
  };
  await runChild(task, options.endMs, (report) => {
    seeds += 1;
    seedsLeft -= 1;
    const caught = catchOf(report);
    if (caught !== undefined && (found === undefined || caught.by !== 'assertion')) {
      found = caught;
      if (caught.by === 'assertion') seedsLeft = SEEDS_AFTER_ASSERTION;
    }
    return (found !== undefined && found.by !== 'assertion') || seedsLeft <= 0;
  });
  return { found, seeds };
}

/** Runs of the program as it was built; each kind of run and seed once. */
export class Baseline {
  readonly #known = new Map<string, Promise<readonly Violation[]>>();

  /** What is wrong with the seed although nothing is broken. */
  violations(run: MutantRun, seed: string): Promise<readonly Violation[]> {
    const name = `${JSON.stringify(run)} ${seed}`;
    let known = this.#known.get(name);
    if (known === undefined) {
      known = this.#run(run, Number(seed));
      this.#known.set(name, known);
    }
    return known;
  }

  async #run(run: MutantRun, seed: number): Promise<readonly Violation[]> {
    let found: readonly Violation[] | undefined;
    const task = { mutant: undefined, run, from: seed, to: seed };
    await runChild(task, performance.now() + BASELINE_MS_MAX, (report) => {
      found = report.violations;
      return true;
    });
    if (found === undefined) throw new Error(`seed ${seed} without a defect did not end in time`);
    return found;
  }
}

/** Whether the simulator notices the defect, and what shows that it is the defect that it noticed. */
export async function judgeMutant(
  mutant: Mutant,
  baseline: Baseline,
  options: RunnerOptions,
): Promise<Verdict> {
  const run: MutantRun = mutant.run ?? { type: 'cluster' };
  try {
    const { found, seeds } = await findCatch(mutant, run, options);
    if (found === undefined) return { type: 'missed', seeds };
    const [without] = await baseline.violations(run, found.seed);
    if (without === undefined) return { type: 'caught', first: found };
    return { type: 'unsound', seed: found.seed, message: `${without.checker}: ${without.message}` };
  } catch (error) {
    return { type: 'broken', message: error instanceof Error ? error.message : String(error) };
  }
}
