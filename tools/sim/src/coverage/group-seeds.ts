import { runGroupScenario } from '../group-scenario.js';

/** Runs seeds of one group of the core alone, `FROM TO`; the exit code is 1 when one of them failed. */
const [from, to] = process.argv.slice(2).map(Number);
if (from === undefined || to === undefined) throw new Error('usage: group-seeds FROM TO');
for (let seed = from; seed <= to; seed += 1) {
  const { violations } = runGroupScenario({ seed: String(seed) });
  for (const { checker, message } of violations) {
    process.exitCode = 1;
    process.stdout.write(`group seed ${seed}: ${checker}: ${message}\n`);
  }
}
