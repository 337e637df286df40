import type { Violation } from '../observer.js';
import { installMutant } from './loader.js';
import type { MutantRun } from './mutant.js';
import { MUTANTS } from './table.js';

/** What the runner asks a child for. */
export interface ChildTask {
  /** undefined: everything as it was built. */
  readonly mutant: string | undefined;
  readonly run: MutantRun;
  readonly from: number;
  readonly to: number;
}

/** What a child says about one seed. */
export interface SeedReport {
  readonly seed: string;
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
}

const DURATION_MS = 12_000;
/** Clients that hardly pause: most defects show where much happens at once. */
const THINK_MS = 8;

async function runSeed(run: MutantRun, seed: string): Promise<SeedReport> {
  // Imported late: what they import must meet the hooks.
  if (run.type === 'group') {
    const { runGroupScenario } = await import('../group-scenario.js');
    return runGroupScenario({ seed, ...run });
  }
  if (run.type === 'explore') {
    const { exploreSeed } = await import('../explore/explorer.js');
    return { seed, virtualMs: 0, violations: exploreSeed(run.bounds) };
  }
  if (run.type === 'upgrade') {
    const { runUpgradeScenario } = await import('../upgrade-scenario.js');
    return runUpgradeScenario(seed);
  }
  const { runScenario } = await import('../scenario.js');
  const { violations, virtualMs } = await runScenario({
    isPlanted: false,
    ...(run.workload === undefined ? { workload: 'none' } : { clients: 0 }),
    ...run,
    seed,
    durationMs: run.durationMs ?? DURATION_MS,
    thinkMs: run.thinkMs ?? THINK_MS,
    endsAtViolation: true,
  });
  return { seed, violations, virtualMs };
}

/** Runs the seeds one after the other and writes one line of JSON for each. */
async function main(task: ChildTask): Promise<void> {
  if (task.mutant !== undefined) {
    const mutant = MUTANTS.find(({ name }) => name === task.mutant);
    if (mutant === undefined) throw new Error(`there is no mutant ${task.mutant}`);
    installMutant(mutant);
  }
  for (let seed = task.from; seed <= task.to; seed += 1) {
    process.stdout.write(`${JSON.stringify(await runSeed(task.run, String(seed)))}\n`);
  }
}

await main(JSON.parse(process.argv[2] ?? '') as ChildTask);
