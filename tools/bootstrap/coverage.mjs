/**
 * Which branches of libraries and applications their unit tests take. Simulator, end-to-end tests and
 * nemesis take more of them, and do not count here: what only they reach, nobody has asserted by itself.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { branchesIn } from './branches.mjs';
import { CACHE, ROOT } from './places.mjs';
import { jestCommand, run, runBounded } from './processes.mjs';
import { say } from './say.mjs';

/** Of all branches together, in percent. */
export const FLOOR_PERCENT = 85;
const WORST_SHOWN = 10;
/** Folders whose unit tests count. */
export const COVERED = ['libs/', 'apps/'];
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
 * Text about a summary of jest, and whether it keeps the floor. V8 knows nothing of a file that no test
 * loads: its branches are counted by `branchesOf(path)`, and none of them is taken. Such a file without any
 * holds types or names only.
 */
export function judgeCoverage(summary, root, branchesOf) {
  // `total` counts a file that nobody loads as one branch.
  const entries = Object.entries(summary).filter(([path]) => path !== 'total');
  const all = entries.map(([path, { branches, lines }]) => {
    const isLoaded = lines.covered > 0;
    const { covered, total } = isLoaded ? branches : { covered: 0, total: branchesOf(path) };
    return { name: relative(root, path).split(sep).join('/'), covered, total, isLoaded };
  });
  const files = all.filter(({ isLoaded, total }) => isLoaded || total > 0);
  const covered = files.reduce((sum, file) => sum + file.covered, 0);
  const total = files.reduce((sum, file) => sum + file.total, 0);
  const percent = percentOf({ covered, total });
  const missing = (file) => file.total - file.covered;
  const text = [
    'Libraries and applications with the smallest share of branches taken:',
    ...byLibrary(files)
      .sort((a, b) => percentOf(a) - percentOf(b))
      .slice(0, WORST_SHOWN)
      .map(rowOf),
    'Files with the most branches that no unit test takes:',
    ...[...files]
      .sort((a, b) => missing(b) - missing(a))
      .slice(0, WORST_SHOWN)
      .map(rowOf),
    'Files that no unit test loads:',
    ...files.filter(({ isLoaded }) => !isLoaded).map(rowOf),
    `${percent.toFixed(1)} % of ${total} branches; the floor is ${FLOOR_PERCENT} %`,
  ];
  return { text: text.join('\n'), isKept: percent >= FLOOR_PERCENT };
}

function jestArguments(argv) {
  return [
    ...(argv.length === 0 ? COVERED : argv),
    '--testPathIgnorePatterns=\\.e2e\\.spec\\.ts$',
    '--coverage',
    `--coverageDirectory=${FOLDER}`,
    '--coverageReporters=json-summary',
    ...SOURCES.map((pattern) => `--collectCoverageFrom=${pattern}`),
  ];
}

async function coverageWith(runOne, argv, options = []) {
  rmSync(FOLDER, { recursive: true, force: true });
  const code = await runOne(...jestCommand([...jestArguments(argv), ...options]));
  const path = join(FOLDER, 'coverage-summary.json');
  if (!existsSync(path)) {
    say('jest has written no summary of the coverage');
    return code === 0 ? 1 : code;
  }
  // Not there before packages are installed.
  const { default: ts } = await import('typescript');
  const branchesOf = (file) => branchesIn(ts, readFileSync(file, 'utf8'));
  const { text, isKept } = judgeCoverage(JSON.parse(readFileSync(path, 'utf8')), ROOT, branchesOf);
  process.stdout.write(`${text}\n`);
  // Some of the tests say nothing about the whole.
  if (code !== 0 || argv.length > 0) return code;
  return isKept ? 0 : 1;
}

/** `npm run coverage`; with arguments of some tests only, and without the floor. */
export function coverage(argv) {
  return coverageWith(run, argv);
}

/** All unit tests that count, with the floor, and `options` for jest. */
export function coverageWithin(budgetMs, options) {
  return coverageWith((command, argv) => runBounded(command, argv, budgetMs), [], options);
}
