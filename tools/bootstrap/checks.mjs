/** What is checked without running the product, as single scripts and as parts of `npm test`. */
import { join } from 'node:path';
import { CACHE, ROOT } from './places.mjs';
import { binCommand, nodeCommand, run, runBounded } from './processes.mjs';
import { runSections } from './sections.mjs';

function orAll(argv) {
  return argv.length === 0 ? ['.'] : argv;
}

function lintCommand(argv) {
  const cache = join(CACHE, 'eslint/');
  return binCommand('eslint', ['--max-warnings=0', '--cache', `--cache-location=${cache}`, ...orAll(argv)]);
}

function typecheckCommand(argv) {
  return binCommand('tsc', ['-p', join(ROOT, 'tsconfig.json'), ...argv]);
}

export function lint(argv) {
  return run(...lintCommand(argv));
}

export function typecheck(argv) {
  return run(...typecheckCommand(argv));
}

export function format(argv) {
  return run(...binCommand('prettier', ['--write', '--log-level=warn', ...orAll(argv)]));
}

const PROTO_FILES = join(ROOT, 'proto');

/** Lints the protocol files, and compares them with the baseline that old clients speak. */
async function protoWithin(runOne) {
  const code = await runOne(...binCommand('buf', ['lint', PROTO_FILES]));
  if (code !== 0) return code;
  const baseline = join(PROTO_FILES, 'baseline.binpb');
  return runOne(...binCommand('buf', ['breaking', PROTO_FILES, '--against', baseline]));
}

export function proto() {
  return protoWithin(run);
}

/** Parts of `npm test` and `npm run check`: minutes are what a slow machine needs. */
export const CHECKS = {
  format: {
    title: 'Format',
    minutes: 3,
    run: (budgetMs) => runBounded(...binCommand('prettier', ['--check', '--log-level=warn', '.']), budgetMs),
  },
  lint: {
    title: 'Lint and module boundaries',
    minutes: 5,
    run: (budgetMs) => runBounded(...lintCommand([]), budgetMs),
  },
  types: {
    title: 'Types',
    minutes: 3,
    run: (budgetMs) => runBounded(...typecheckCommand([]), budgetMs),
  },
  proto: {
    title: 'Protocol files',
    minutes: 2,
    run: (budgetMs) => protoWithin((command, argv) => runBounded(command, argv, budgetMs / 2)),
  },
};

/** Without arguments the sources are checked, otherwise what the arguments name: a history. */
export async function check(argv) {
  if (argv.length > 0) return run(...nodeCommand('tools/checkers/dist/main.js', argv));
  const results = await runSections([CHECKS.format, CHECKS.lint, CHECKS.types, CHECKS.proto]);
  return results.every(({ passed }) => passed) ? 0 : 1;
}
