/** The two tiers of tests: what a contributor runs, and the searches that take longer than one waits. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKS } from './checks.mjs';
import { coverageWithin } from './coverage.mjs';
import { CACHE } from './places.mjs';
import { jestCommand, nodeCommand, runBounded } from './processes.mjs';
import { fail, say } from './say.mjs';
import { runSections } from './sections.mjs';

const END_TO_END = '<rootDir>/{libs/*,apps,tools}/*/{src,test}/**/*.e2e.spec.ts';
/** Not part of `npm test`, unless it is asked for by name. */
const LONG_END_TO_END = END_TO_END.replace('*.e2e', '*.long.e2e');
const IS_LONG = '\\.long\\.e2e\\.spec\\.ts$';
const REPORTS = join(CACHE, 'cairn-jest');
const DAY_MS = 86_400_000;

/** `run(budgetMs, options)` calls jest with these options besides its own. */
function jestPart(title, minutes, name, run) {
  const report = join(REPORTS, `${name}.json`);
  return {
    title,
    minutes,
    report,
    run: (budgetMs) => run(budgetMs, ['--json', `--outputFile=${report}`]),
  };
}

function jestWith(argv) {
  return (budgetMs, options) => runBounded(...jestCommand([...options, ...argv]), budgetMs);
}

/** Failed tests of a jest run; files that could not be loaded count as one each. */
function countsOf({ report }) {
  if (!existsSync(report)) return { passed: 0, failed: 0 };
  const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  return { passed: numPassedTests, failed: numFailedTests + numRuntimeErrorTestSuites };
}

/**
 * Adds up what the jest runs reported. Any other part that failed counts as one failure, and so does a jest
 * run that failed without a failed test: it did not end.
 */
export function testCounts(parts, results) {
  const counts = { passed: 0, failed: 0 };
  parts.forEach((part, at) => {
    const { passed, failed } = part.report === undefined ? { passed: 0, failed: 0 } : countsOf(part);
    counts.passed += passed;
    counts.failed += failed + (!results[at].passed && failed === 0 ? 1 : 0);
  });
  return counts;
}

/*
 * What jest is called with for the tests that match words. It takes words behind an option of many values for
 * more of these, until the next option: so another one stands between.
 */

export function unitArgv(argv) {
  const mayBeNone = argv.length > 0 ? ['--passWithNoTests'] : ['--passWithNoTests=false'];
  return ['--testPathIgnorePatterns=\\.e2e\\.spec\\.ts$', ...mayBeNone, ...argv];
}

export function endToEndArgv(argv) {
  const without = argv.length > 0 ? [] : [`--testPathIgnorePatterns=${IS_LONG}`];
  return [`--testMatch=${END_TO_END}`, ...without, '--runInBand', '--passWithNoTests', ...argv];
}

/**
 * Where nobody waits, those of libraries and applications also tell of the branches that they take: that
 * costs a fifth of their time here, and all of it in a run of its own.
 */
function unitParts(argv) {
  if (argv.length > 0 || !process.env.CI) {
    return [jestPart('Unit tests', 15, 'unit', jestWith(unitArgv(argv)))];
  }
  return [
    jestPart('Unit tests and their coverage', 15, 'unit', coverageWithin),
    jestPart('Unit tests of tools', 8, 'tools', jestWith(unitArgv(['tools/']))),
  ];
}

/** `npm test`; with arguments only the tests that match them. */
export async function test(argv) {
  rmSync(REPORTS, { recursive: true, force: true });
  mkdirSync(REPORTS, { recursive: true });
  const checks = argv.length > 0 ? [] : [CHECKS.lint, CHECKS.types, CHECKS.proto];
  const endToEnd = jestWith(endToEndArgv(argv));
  const parts = [
    ...checks,
    ...unitParts(argv),
    jestPart('End-to-end tests with real processes', 10, 'end-to-end', endToEnd),
  ];
  const results = await runSections(parts);
  const { passed, failed } = testCounts(parts, results);
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  if (failed === 0 && passed === 0) {
    say(`no test matches ${argv.join(' ')}`);
    return 1;
  }
  return failed === 0 ? 0 : 1;
}

function seedsOf(day) {
  return `${day * 10_000}..${day * 10_000 + 9_999}`;
}

/** A suite whose program was built. */
function suite(name, title, minutes, argvOf) {
  const script = `tools/${name}/dist/main.js`;
  return {
    name,
    title,
    minutes,
    run: (budgetMs, day) => runBounded(...nodeCommand(script, argvOf(day)), budgetMs),
  };
}

/** Those that take long, and some again with shard nodes on the engine that is not the default. */
const LONG_TESTS = {
  name: 'e2e',
  title: 'End-to-end tests that take long',
  minutes: 12,
  run: (budgetMs) => runBounded(...jestCommand([`--testMatch=${LONG_END_TO_END}`, '--runInBand']), budgetMs),
};
const TESTS_AGAIN = {
  name: 'e2e',
  title: 'End-to-end tests, classic-level',
  minutes: 6,
  isDue: (day) => day % 2 === 0,
  run: (budgetMs) =>
    runBounded(
      ...jestCommand([
        `--testMatch=${END_TO_END}`,
        '--runInBand',
        '--testPathPatterns=tools/e2e/test/(cities|failures)',
      ]),
      budgetMs,
      { CAIRN_E2E_ENGINE: 'classic-level' },
    ),
};

/**
 * Each has the time that it may take; more is a failure. Seeds are those of the day, so that every run looks
 * somewhere else; a failure prints how to run it again. Of the deliberate defects every fifth is looked for,
 * by turns: all within five days. A quarter of the seeds, and real faults every other day, are spent on
 * classic-level. What has `isDue` runs on such days alone, unless it is asked for by name.
 */
const SUITES = [
  LONG_TESTS,
  suite('sim', 'Simulator: new seeds', 5, (day) => ['--seeds', seedsOf(day), '--minutes', '2']),
  // Each load of transactions in turn.
  suite('sim', 'Simulator: transactions', 3, (day) => [
    ...['--workload', 'all', '--seeds', seedsOf(day), '--minutes', '1.5'],
  ]),
  suite('sim', 'Simulator: deliberate defects', 12, (day) => [
    ...['--mutants', '--turn', String(day), '--minutes', '11'],
  ]),
  TESTS_AGAIN,
  suite('nemesis', 'Real faults', 3, (day) => [
    ...['--minutes', '1', '--seed', String(day)],
    ...['--engine', day % 2 === 0 ? 'lsm' : 'classic-level'],
  ]),
  suite('fuzz', 'Strangers', 4, (day) => ['--minutes', '1', '--seed', String(day)]),
  { ...suite('soak', 'Slopes', 8, () => ['--minutes', '2']), isDue: (day) => day % 2 === 1 },
];

/** `npm run test:full`; with arguments only the suites of these names. */
export async function testFull(argv) {
  const names = [...new Set(SUITES.map(({ name }) => name))];
  const unknown = argv.find((word) => !names.includes(word));
  if (unknown !== undefined)
    fail(`${unknown} is not a suite; there are ${names.join(', ')}, and without a name all run`);
  const day = Math.floor(Date.now() / DAY_MS);
  const chosen = SUITES.filter(({ name, isDue }) =>
    argv.length === 0 ? (isDue?.(day) ?? true) : argv.includes(name),
  );
  const results = await runSections(
    chosen.map(({ title, minutes, run }) => ({ title, minutes, run: (budgetMs) => run(budgetMs, day) })),
  );
  const passed = results.filter((result) => result.passed).length;
  process.stdout.write(`\n${passed} passed, ${results.length - passed} failed\n`);
  return passed === results.length ? 0 : 1;
}
