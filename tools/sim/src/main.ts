import { coverageMain } from './coverage/command.js';
import { groupSeedsMain } from './coverage/group-seeds.js';
import { exploreMain } from './explore/command.js';
import { failoverMain } from './failover.js';
import { mutantsMain } from './mutants/command.js';
import { engineOf, loadOf, parseArguments, USAGE, type Arguments } from './arguments.js';
import type { ScenarioResult } from './scenario-options.js';
import { runScenario } from './scenario.js';

/** Of how the stores stood when a seed failed. */
const STORE_LINES_MAX = 200;

function lineOf(result: ScenarioResult, realMs: number): string {
  const withLoad = result.workload === undefined ? '' : ` with ${result.workload}`;
  const ratio = result.virtualMs / Math.max(1, realMs);
  return (
    `seed ${result.seed} on ${result.engine}${withLoad}: ${result.violations.length === 0 ? 'ok' : 'FAILED'}, ${result.succeeded} of ` +
    `${result.operations} operations, ${result.faults} faults, ${result.ranges} ranges, ` +
    `${result.leaderships} leaderships, ${result.snapshots} snapshots, ${result.moves} moves, ${ratio.toFixed(1)} : 1, ${result.digest}`
  );
}

function show(result: ScenarioResult, realMs: number, options: Arguments): void {
  const { json, logLines, from, to, engine, workload } = options;
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ...result, tail: undefined, stores: undefined, realMs: Math.round(realMs) })}\n`,
    );
    return;
  }
  process.stdout.write(`${lineOf(result, realMs)}\n`);
  for (const { checker, atMs, message } of result.violations) {
    process.stdout.write(`  ${atMs.toFixed(1)} ${checker}: ${message}\n`);
  }
  if (result.violations.length > 0) {
    const load = workload === undefined ? '' : ` --workload ${result.workload ?? workload}`;
    const named = (engine === undefined ? '' : ` --engine ${engine}`) + load;
    process.stdout.write(`  replay: npm run sim -- --seeds ${result.seed}${named} --log 200\n`);
  }
  const stores = result.stores.flatMap((text) => text.split('\n'));
  for (const line of stores.slice(0, STORE_LINES_MAX)) process.stdout.write(`    ${line}\n`);
  if (stores.length > STORE_LINES_MAX) {
    process.stdout.write(`    … ${stores.length - STORE_LINES_MAX} more lines of stores\n`);
  }
  const shown =
    logLines > 0 && (result.violations.length > 0 || from === to) ? result.tail.slice(-logLines) : [];
  for (const line of shown) process.stdout.write(`    ${line}\n`);
}

/** Runs the seeds; the exit code is 1 when any of them failed. */
export async function main(argv: readonly string[]): Promise<number> {
  const options = parseArguments(argv);
  const endMs = performance.now() + options.minutes * 60_000;
  const failed: string[] = [];
  let [runs, virtualMs, realMs] = [0, 0, 0];
  for (let seed = options.from; seed <= options.to && performance.now() < endMs; seed += 1) {
    const startedMs = performance.now();
    const engine = options.engine ?? engineOf(seed);
    const result = await runScenario({
      seed: String(seed),
      ...(engine === undefined ? {} : { shape: { engine } }),
      ...(options.workload === undefined ? {} : { workload: loadOf(options.workload, seed), clients: 0 }),
    });
    const tookMs = performance.now() - startedMs;
    runs += 1;
    virtualMs += result.virtualMs;
    realMs += tookMs;
    if (result.violations.length > 0) failed.push(result.seed);
    show(result, tookMs, options);
  }
  if (!options.json) {
    process.stdout.write(
      `${runs} ${runs === 1 ? 'seed' : 'seeds'}, ${failed.length} failed${failed.length > 0 ? ` (${failed.join(', ')})` : ''}, ` +
        `${(virtualMs / 1000).toFixed(0)} virtual seconds in ${(realMs / 1000).toFixed(1)} s ` +
        `(${(virtualMs / Math.max(1, realMs)).toFixed(1)} : 1)\n`,
    );
  }
  return failed.length === 0 ? 0 : 1;
}

async function command(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') && !argv.includes('--explore')) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  if (argv.includes('--explore')) return exploreMain(argv);
  if (argv.includes('--mutants')) return mutantsMain(argv);
  if (argv.includes('--group-seeds')) return groupSeedsMain(argv);
  if (argv.includes('--coverage')) return coverageMain(argv);
  if (argv.includes('--failover')) return failoverMain(argv);
  return main(argv);
}

process.exitCode = await command(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 2;
});
