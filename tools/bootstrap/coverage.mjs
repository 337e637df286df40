/**
 * Which branches of libraries and applications their unit tests take. Simulator, end-to-end tests and
 * nemesis take more of them, and do not count here: what only they reach, nobody has asserted by itself.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { CACHE, ROOT } from './places.mjs';
import { jestCommand, run, runBounded } from './processes.mjs';
import { say } from './say.mjs';

/** Of all branches together, in percent. */
export const FLOOR_PERCENT = 85;
const WORST_SHOWN = 10;
const FOLDER = join(CACHE, 'cairn-coverage');
/** What counts; not: tests and what helps them, benchmarks, generated code. */
const SOURCES = [
  '{libs/*,apps}/*/src/**/*.ts',
  '!**/*.{spec,bench,testing}.ts',
  '!**/{testing,micro-benchmark}.ts',
  '!**/{testing,gen}/**',
];

function percentOf({ covered, total }) {
  return total === 0 ? 100 : (100 * covered) / total;
}

function rowOf({ name, covered, total }) {
  const percent = percentOf({ covered, total }).toFixed(1).padStart(5);
  return `  ${percent} %  ${`${covered} of ${total}`.padStart(14)}  ${name}`;
}

/** `libs/doors/client/src/a.ts` → `libs/doors/client`. */
function libraryOf(path) {
  return path.split('/src/')[0];
}

function byLibrary(files) {
  const libraries = new Map();
  for (const { name, covered, total } of files) {
    const key = libraryOf(name);
    const sum = libraries.get(key) ?? { name: key, covered: 0, total: 0 };
    libraries.set(key, { name: key, covered: sum.covered + covered, total: sum.total + total });
  }
  return [...libraries.values()];
}

/**
 * Text about a summary of jest, and whether it keeps the floor. A file that no test loads counts as one
 * branch, because nobody knows its others; all such files are named.
 */
export function judgeCoverage(summary, root) {
  const { total: whole, ...rest } = summary;
  const files = Object.entries(rest).map(([path, { branches, lines }]) => ({
    name: relative(root, path).split(sep).join('/'),
    covered: branches.covered,
    total: branches.total,
    isLoaded: lines.covered > 0,
  }));
  const loaded = files.filter(({ isLoaded }) => isLoaded);
  const percent = percentOf(whole.branches);
  const missing = ({ covered, total }) => total - covered;
  const text = [
    'Libraries and applications with the smallest share of branches taken:',
    ...byLibrary(files)
      .sort((a, b) => percentOf(a) - percentOf(b))
      .slice(0, WORST_SHOWN)
      .map(rowOf),
    'Files with the most branches that no unit test takes:',
    ...loaded
      .sort((a, b) => missing(b) - missing(a))
      .slice(0, WORST_SHOWN)
      .map(rowOf),
    'Files that no unit test loads:',
    ...files.filter(({ isLoaded }) => !isLoaded).map(({ name }) => `  ${name}`),
    `${percent.toFixed(1)} % of ${whole.branches.total} branches; the floor is ${FLOOR_PERCENT} %`,
  ];
  return { text: text.join('\n'), isKept: percent >= FLOOR_PERCENT };
}

function jestArguments(argv) {
  return [
    ...(argv.length === 0 ? ['libs/', 'apps/'] : argv),
    '--testPathIgnorePatterns=\\.e2e\\.spec\\.ts$',
    '--coverage',
    `--coverageDirectory=${FOLDER}`,
    '--coverageReporters=json-summary',
    ...SOURCES.map((pattern) => `--collectCoverageFrom=${pattern}`),
  ];
}

async function coverageWith(runOne, argv) {
  rmSync(FOLDER, { recursive: true, force: true });
  const code = await runOne(...jestCommand(jestArguments(argv)));
  const path = join(FOLDER, 'coverage-summary.json');
  if (!existsSync(path)) {
    say('jest has written no summary of the coverage');
    return code === 0 ? 1 : code;
  }
  const { text, isKept } = judgeCoverage(JSON.parse(readFileSync(path, 'utf8')), ROOT);
  process.stdout.write(`${text}\n`);
  // Some of the tests say nothing about the whole.
  if (code !== 0 || argv.length > 0) return code;
  return isKept ? 0 : 1;
}

/** `npm run coverage`; with arguments of some tests only, and without the floor. */
export function coverage(argv) {
  return coverageWith(run, argv);
}

export function coverageWithin(budgetMs) {
  return coverageWith((command, argv) => runBounded(command, argv, budgetMs), []);
}
