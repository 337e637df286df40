import { runGroupScenario } from '../group-scenario.js';

/** Runs seeds of one group of the core alone, `--group-seeds FROM TO`; answers 1 when one of them failed. */
export function groupSeedsMain(argv: readonly string[]): number {
  const [from = 1, to = 1] = argv.slice(argv.indexOf('--group-seeds') + 1).map(Number);
  let failed = 0;
  for (let seed = from; seed <= to; seed += 1) {
    const { violations } = runGroupScenario({ seed: String(seed) });
    failed += violations.length;
    for (const { checker, message } of violations) {
      process.stdout.write(`group seed ${seed}: ${checker}: ${message}\n`);
    }
  }
  return failed === 0 ? 0 : 1;
}
