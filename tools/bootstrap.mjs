/**
 * Every npm script begins here. Plain JavaScript without dependencies, because it has to run on any Node
 * from 20.3 on before anything is installed: it installs what the lock file says, builds what changed, and
 * goes on with the pinned Node that came with the packages.
 */
import { ensureBuilt, types } from './bootstrap/build.mjs';
import { check, format, lint, proto, typecheck } from './bootstrap/checks.mjs';
import { coverage } from './bootstrap/coverage.mjs';
import { refuseFlagsOfNpm } from './bootstrap/flags.mjs';
import { ensureInstalled } from './bootstrap/install.mjs';
import { checkNode, nodeCommand, run } from './bootstrap/processes.mjs';
import { fail } from './bootstrap/say.mjs';
import { test, testFull } from './bootstrap/tests.mjs';

/** A program that has to be built before it runs. */
function program(script, ...before) {
  return { built: true, run: (argv) => run(...nodeCommand(script, [...before, ...argv])) };
}

/** What can be run; `built` = needs the compiled programs. */
const TARGETS = {
  start: program('tools/local-cluster/dist/main.js'),
  cli: program('apps/cli/dist/main.js'),
  sim: program('tools/sim/dist/main.js'),
  fuzz: program('tools/fuzz/dist/main.js'),
  compat: program('tools/compat/dist/main.js'),
  soak: program('tools/soak/dist/main.js'),
  explore: program('tools/sim/dist/main.js', '--explore'),
  nemesis: program('tools/nemesis/dist/main.js'),
  bench: program('tools/bench/dist/main.js'),
  docs: program('tools/docs/dist/main.js'),
  build: { built: true, run: () => 0 },
  test: { built: true, run: test },
  'test:full': { built: true, run: testFull },
  coverage: { built: true, run: coverage },
  lint: { built: false, run: lint },
  typecheck: { built: false, run: typecheck },
  format: { built: false, run: format },
  types: { built: true, run: types },
  proto: { built: false, run: proto },
  check: { built: true, run: check },
};

checkNode();
const [name = 'help', ...argv] = process.argv.slice(2);
const target = Object.hasOwn(TARGETS, name) ? TARGETS[name] : undefined;
if (target === undefined)
  fail(`usage: node tools/bootstrap.mjs <${Object.keys(TARGETS).join('|')}> [arguments]`);
refuseFlagsOfNpm(name);
await ensureInstalled();
if (target.built) await ensureBuilt();
process.exitCode = await target.run(argv);
