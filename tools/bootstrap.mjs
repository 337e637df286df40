/**
 * Every npm script begins here. Plain JavaScript without dependencies, because it has to run on any Node from
 * 20 on before anything is installed: it installs what the lock file says, builds what changed, and goes on
 * with the pinned Node that came with the packages.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { clearTimeout, setTimeout } from 'node:timers';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, 'node_modules');
const BIN = join(MODULES, '.bin');
const INSTALL_STAMP = join(MODULES, '.cairn-install');
const BUILD_STAMP = join(MODULES, '.cairn-build');
const NODE_MAJOR_MIN = 20;
const NODE_MAJOR_WANTED = 24;
const END_TO_END = '<rootDir>/{libs/*,apps,tools}/*/{src,test}/**/*.e2e.spec.ts';
const PROGRESS_INTERVAL_MS = 10_000;
const PARENT_INTERVAL_MS = 500;
/** Between asking a program to end and ending it. */
const GRACE_MS = 20_000;

/** What can be run, and with what; `built` = needs the compiled programs. */
const TARGETS = {
  start: { built: true, run: (argv) => runNode('tools/local-cluster/dist/main.js', argv) },
  cli: { built: true, run: (argv) => runNode('apps/cli/dist/main.js', argv) },
  sim: { built: true, run: (argv) => runNode('tools/sim/dist/main.js', argv) },
  fuzz: { built: true, run: (argv) => runNode('tools/fuzz/dist/main.js', argv) },
  soak: { built: true, run: (argv) => runNode('tools/soak/dist/main.js', argv) },
  explore: { built: true, run: (argv) => runNode('tools/sim/dist/main.js', ['--explore', ...argv]) },
  nemesis: { built: true, run: (argv) => runNode('tools/nemesis/dist/main.js', argv) },
  bench: { built: true, run: (argv) => runNode('tools/bench/dist/main.js', argv) },
  docs: { built: true, run: (argv) => runNode('tools/docs/dist/main.js', argv) },
  build: { built: true, run: () => 0 },
  test: { built: true, run: test },
  'test:full': { built: true, run: testFull },
  lint: { built: false, run: lint },
  typecheck: { built: false, run: typecheck },
  format: {
    built: false,
    run: (argv) => runBin('prettier', ['--write', '--log-level=warn', ...orAll(argv)]),
  },
  types: { built: true, run: types },
  proto: { built: false, run: proto },
  check: { built: true, run: check },
};

/**
 * Flags of the programs. npm takes them for itself when `--` is left out before them, and hands them on in
 * its environment alone: the program would run with its defaults, for an hour or on other ports.
 */
const FLAGS = {
  start: ['data-dir', 'shards', 'metadata', 'routers', 'base-port', 'restart', 'log-level', 'otlp-endpoint'],
  sim: ['seeds', 'minutes', 'log', 'mutants', 'coverage', 'failover'],
  explore: ['nodes', 'terms', 'entries', 'crashes', 'timeouts', 'heartbeats', 'reads', 'states', 'minutes'],
  fuzz: ['minutes', 'steps', 'seed', 'targets'],
  soak: ['minutes', 'clients', 'seed'],
  nemesis: ['minutes', 'seed', 'faults', 'network', 'metadata', 'shards', 'routers', 'clients', 'keep'],
};

function refuseFlagsOfNpm(name) {
  if (process.env.npm_lifecycle_event !== name) return;
  const taken = (FLAGS[name] ?? []).filter(
    (flag) => process.env[`npm_config_${flag.replaceAll('-', '_')}`] !== undefined,
  );
  if (taken.length === 0) return;
  const flags = taken.map((flag) => `--${flag}`).join(' and ');
  const command = name === 'start' ? 'npm start' : `npm run ${name}`;
  fail(`npm took ${flags} for itself. Put -- before the flags of the program: ${command} -- --${taken[0]} …`);
}

/** Without arguments the sources are checked, otherwise what the arguments name: a history. */
function check(argv) {
  if (argv.length > 0) return runNode('tools/checkers/dist/main.js', argv);
  return sections([CHECKS.format, CHECKS.lint, CHECKS.types, CHECKS.proto], argv);
}

/** A section of `npm test` and `npm run check`. */
const CHECKS = {
  format: { title: 'Format', run: () => runBin('prettier', ['--check', '--log-level=warn', '.']) },
  lint: { title: 'Lint and module boundaries', run: () => lint([]) },
  types: { title: 'Types', run: () => typecheck([]) },
  proto: { title: 'Protocol files', run: () => proto([]) },
  unit: {
    title: 'Unit tests',
    run: (argv) => runJest(['--testPathIgnorePatterns=\\.e2e\\.spec\\.ts$', ...argv]),
  },
  endToEnd: {
    title: 'End-to-end tests with real processes',
    run: (argv) => runJest(['--runInBand', '--passWithNoTests', `--testMatch=${END_TO_END}`, ...argv]),
  },
};

function say(text) {
  process.stderr.write(`${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

function checkNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major >= NODE_MAJOR_MIN) return;
  fail(
    `Node ${process.versions.node} is too old to begin with: ${NODE_MAJOR_MIN} or newer is needed. ` +
      `Get one from https://nodejs.org and run the command again.`,
  );
}

/** npm as a program and its first arguments: the npm that runs this script, else the one on the path. */
function npmCommand() {
  const script = process.env.npm_execpath;
  return script !== undefined && /npm-cli\.c?js$/.test(script) ? [process.execPath, script] : ['npm'];
}

function sha256(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/**
 * True when npm's own record of what it installed agrees with the lock file: a tree that somebody installed
 * by hand is not thrown away. Packages for other platforms are in the lock and not in the tree; those are
 * optional.
 */
function treeMatchesLock() {
  const recordText = readText(join(MODULES, '.package-lock.json'));
  if (recordText === '') return false;
  const installed = JSON.parse(recordText).packages;
  const locked = JSON.parse(readText(join(ROOT, 'package-lock.json'))).packages;
  return Object.entries(locked).every(([path, wanted]) => {
    if (!path.startsWith('node_modules/') || wanted.optional || wanted.devOptional) return true;
    return wanted.link ? existsSync(join(ROOT, path)) : installed[path]?.version === wanted.version;
  });
}

/** Runs a program, keeps its output, and shows that something happens. Resolves with the exit code. */
function runQuietly(command, args, what) {
  return new Promise((resolve) => {
    const startedMs = Date.now();
    const child = spawn(command, args, { cwd: ROOT, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-200_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const progress = setInterval(() => {
      say(`  … ${what}, ${Math.round((Date.now() - startedMs) / 1000)} s`);
    }, PROGRESS_INTERVAL_MS);
    const end = (code, text) => {
      clearInterval(progress);
      resolve({ code, output: output + text, seconds: (Date.now() - startedMs) / 1000 });
    };
    child.on('error', (error) => end(1, `${command}: ${error.message}\n`));
    child.on('close', (code) => end(code ?? 1, ''));
  });
}

/**
 * Installs what the lock file says. `npm ci` refuses a lock that lists optional packages only of the platform
 * it was made on; `npm install` takes such a lock with the same versions, but would rewrite the file, so that
 * is undone.
 */
async function installLocked(lock) {
  const [command, ...before] = npmCommand();
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
  const strict = await runQuietly(command, [...before, 'ci', ...quiet], 'installing');
  if (strict.code === 0 || !/Missing: .* from lock file/.test(strict.output)) return strict;
  const lenient = await runQuietly(command, [...before, 'install', '--no-save', ...quiet], 'installing');
  writeFileSync(join(ROOT, 'package-lock.json'), lock);
  return lenient;
}

async function ensureInstalled() {
  const lock = readText(join(ROOT, 'package-lock.json'));
  if (lock === '')
    fail(`package-lock.json is missing in ${ROOT}; restore it with: git checkout package-lock.json`);
  const wanted = sha256([lock, process.platform, process.arch]);
  if (readText(INSTALL_STAMP) === wanted) return;
  if (!treeMatchesLock()) {
    const first = !existsSync(MODULES);
    say(
      first
        ? 'Installing packages (the first time only, about a minute) …'
        : 'Packages changed; installing …',
    );
    const { code, output, seconds } = await installLocked(lock);
    if (code !== 0) {
      fail(
        `${output}\nInstalling packages failed (exit code ${code}). If a package could not be fetched, check ` +
          `the network and run the command again.`,
      );
    }
    say(`Installed in ${seconds.toFixed(0)} s.`);
  }
  writeFileSync(INSTALL_STAMP, wanted);
}

/** The pinned Node from the packages, else the running one when it is new enough. */
function nodePath() {
  const pinned = join(BIN, 'node');
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_WANTED) return process.execPath;
  return fail(
    `There is no packaged Node ${NODE_MAJOR_WANTED} for ${process.platform}-${process.arch}, and the Node that runs this ` +
      `is ${process.versions.node}. Install Node ${NODE_MAJOR_WANTED} or newer and run the command again.`,
  );
}

function environment(extra = {}) {
  return {
    ...process.env,
    PATH: [BIN, process.env.PATH ?? ''].join(delimiter),
    NX_DAEMON: 'false',
    NX_TUI: 'false',
    ...extra,
  };
}

function filesUnder(directory, found) {
  for (const entry of readdirSync(directory, { withFileTypes: true }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) filesUnder(path, found);
    else found.push(path);
  }
  return found;
}

/** Folders of the projects that are compiled: those with sources. */
function projects() {
  const foldersIn = (folder) =>
    readdirSync(join(ROOT, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(folder, name));
  return [...foldersIn('libs'), 'apps', 'tools']
    .flatMap(foldersIn)
    .map((folder) => join(ROOT, folder))
    .filter((project) => existsSync(join(project, 'package.json')) && existsSync(join(project, 'src')));
}

/** One hash over everything that the compiled programs are made of: 30 ms, where asking nx takes seconds. */
function sourceHash(all) {
  const parts = [readText(join(ROOT, '.swcrc')), readText(join(ROOT, 'nx.json')), readText(INSTALL_STAMP)];
  for (const project of all) {
    const files = [join(project, 'package.json'), ...filesUnder(join(project, 'src'), [])];
    for (const file of files.filter((each) => !each.endsWith('.spec.ts')))
      parts.push(file, readFileSync(file));
  }
  return sha256(parts);
}

/**
 * `npx cairn` finds its program here. Linked by hand, because npm links only what exists when it installs.
 */
function linkCli() {
  const program = join(ROOT, 'apps/cli/dist/main.js');
  const link = join(BIN, 'cairn');
  if (!existsSync(program)) return;
  chmodSync(program, 0o755);
  rmSync(link, { force: true });
  symlinkSync('../../apps/cli/dist/main.js', link);
}

async function ensureBuilt() {
  const all = projects();
  const wanted = sourceHash(all);
  if (readText(BUILD_STAMP) === wanted && all.every((project) => existsSync(join(project, 'dist')))) return;
  say('Building …');
  const args = [
    'run-many',
    '-t',
    'build',
    '--outputStyle=static',
    `--parallel=${Math.min(availableParallelism(), 4)}`,
  ];
  const { code, output, seconds } = await runQuietly(join(BIN, 'nx'), args, 'building');
  if (code !== 0) fail(`${output}\nThe build failed; the messages above say where.`);
  linkCli();
  mkdirSync(dirname(BUILD_STAMP), { recursive: true });
  writeFileSync(BUILD_STAMP, wanted);
  say(`Built in ${seconds.toFixed(0)} s.`);
}

/**
 * npm runs us in a shell, and passes signals on to that shell alone: it ends, and nobody tells us. So we look
 * whether it is still there.
 */
function watchNpm(onGone) {
  if (process.env.npm_lifecycle_event === undefined) return () => undefined;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    onGone();
  }, PARENT_INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * Runs a program with our terminal until it ends. Signals reach it directly or are passed on; it decides
 * when to end.
 */
function run(command, args, budgetMs = Infinity) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, env: environment(), stdio: 'inherit' });
    const stopTimers = limit(child, budgetMs);
    // The terminal sends Ctrl-C to the whole process group: the child has it already and must not get it
    // twice.
    const onInterrupt = () => undefined;
    const onTerminate = () => child.kill('SIGTERM');
    process.on('SIGINT', onInterrupt);
    process.on('SIGTERM', onTerminate);
    const stopWatching = watchNpm(onTerminate);
    child.on('error', (error) => {
      stopTimers();
      stopWatching();
      say(`${command}: ${error.message}`);
      resolve(1);
    });
    child.on('close', (code, signal) => {
      stopTimers();
      stopWatching();
      process.off('SIGINT', onInterrupt);
      process.off('SIGTERM', onTerminate);
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/** Ends a program that takes longer than it may: asks first, then does not. */
function limit(child, budgetMs) {
  if (budgetMs === Infinity) return () => undefined;
  const ask = setTimeout(() => {
    say(`not done after ${Math.round(budgetMs / 60_000)} minutes`);
    child.kill('SIGTERM');
  }, budgetMs);
  const force = setTimeout(() => child.kill('SIGKILL'), budgetMs + GRACE_MS);
  return () => {
    clearTimeout(ask);
    clearTimeout(force);
  };
}

function runNode(script, argv, budgetMs = Infinity) {
  if (!existsSync(join(ROOT, script))) fail(`${script} does not exist in this checkout.`);
  return run(nodePath(), ['--enable-source-maps', join(ROOT, script), ...argv], budgetMs);
}

function runBin(name, args) {
  return run(join(BIN, name), args);
}

function orAll(argv) {
  return argv.length === 0 ? ['.'] : argv;
}

function runJest(argv) {
  return run(nodePath(), [join(ROOT, 'tools/jest.mjs'), ...argv]);
}

function lint(argv) {
  return runBin('eslint', [
    '--max-warnings=0',
    '--cache',
    '--cache-location=node_modules/.cache/eslint/',
    ...orAll(argv),
  ]);
}

function typecheck(argv) {
  return runBin('tsc', ['-p', join(ROOT, 'tsconfig.json'), ...argv]);
}

/**
 * Declarations of the client, and of what its types name, beside their compiled code: for a project in
 * TypeScript that links the client. Gone with the next build.
 */
async function types() {
  const made = join(MODULES, '.cairn-types');
  rmSync(made, { recursive: true, force: true });
  const code = await runBin('tsc', ['-p', join(ROOT, 'libs/doors/client/tsconfig.types.json')]);
  if (code !== 0) return code;
  for (const room of readdirSync(made)) {
    for (const name of readdirSync(join(made, room))) {
      cpSync(join(made, room, name, 'src'), join(ROOT, 'libs', room, name, 'dist'), { recursive: true });
    }
  }
  return 0;
}

/** Lints the protocol files, and compares them with the baseline that old clients speak. */
async function proto() {
  for (const args of [['lint'], ['breaking', '--against', 'baseline.binpb']]) {
    const result = spawnSync(join(BIN, 'buf'), args, {
      cwd: join(ROOT, 'proto'),
      stdio: 'inherit',
      env: environment(),
    });
    if (result.status !== 0) return result.status ?? 1;
  }
  return 0;
}

/** Runs every section, also after one failed, so that one run shows everything. */
async function sections(checks, argv) {
  const results = [];
  for (const check of checks) {
    say(`\n== ${check.title} ==`);
    const startedMs = Date.now();
    const code = await check.run(argv);
    results.push({ title: check.title, code });
    say(
      `${check.title}: ${code === 0 ? 'passed' : 'FAILED'} (${((Date.now() - startedMs) / 1000).toFixed(0)} s)`,
    );
  }
  say('\n== Summary ==');
  for (const { title, code } of results) say(`${code === 0 ? 'passed' : 'FAILED'}  ${title}`);
  return results.every(({ code }) => code === 0) ? 0 : 1;
}

/** Adds up what the two jest runs reported. */
function testCounts() {
  const counts = { passed: 0, failed: 0 };
  const folder = join(MODULES, '.cache/cairn-jest');
  if (!existsSync(folder)) return counts;
  for (const name of readdirSync(folder)) {
    const report = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    counts.passed += report.numPassedTests;
    counts.failed += report.numFailedTests + report.numRuntimeErrorTestSuites;
  }
  return counts;
}

async function test(argv) {
  const folder = join(MODULES, '.cache/cairn-jest');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const report = (name) => ['--json', `--outputFile=${join(folder, `${name}.json`)}`];
  const only = argv.length > 0;
  const unit = {
    ...CHECKS.unit,
    run: () => CHECKS.unit.run([...report('unit'), ...(only ? ['--passWithNoTests'] : []), ...argv]),
  };
  const endToEnd = { ...CHECKS.endToEnd, run: () => CHECKS.endToEnd.run([...report('end-to-end'), ...argv]) };
  const code = await sections(
    only ? [unit, endToEnd] : [CHECKS.lint, CHECKS.types, CHECKS.proto, unit, endToEnd],
    [],
  );
  const { passed, failed } = testCounts();
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  if (code === 0 && passed === 0) {
    say(`no test matches ${argv.join(' ')}`);
    return 1;
  }
  return code;
}

/**
 * The searches that take longer than a contributor waits for, each with the time it may take; more is a
 * failure. Seeds are those of the day, so that every run looks somewhere else; a failure prints how to run it
 * again.
 */
const SUITES = [
  {
    title: 'Simulator: new seeds',
    minutes: 6,
    script: 'sim',
    argv: (day) => ['--seeds', seedsOf(day), '--minutes', '4'],
  },
  {
    title: 'Simulator: deliberate defects',
    minutes: 15,
    script: 'sim',
    argv: () => ['--mutants', '--minutes', '14'],
  },
  {
    title: 'Real faults',
    minutes: 5,
    script: 'nemesis',
    argv: (day) => ['--minutes', '3', '--seed', String(day)],
  },
  {
    title: 'Strangers',
    minutes: 4,
    script: 'fuzz',
    argv: (day) => ['--minutes', '2', '--seed', String(day)],
  },
  { title: 'Slopes', minutes: 7, script: 'soak', argv: () => ['--minutes', '3'] },
];

function seedsOf(day) {
  return `${day * 10_000}..${day * 10_000 + 9_999}`;
}

async function testFull(argv) {
  const names = SUITES.map(({ script }) => script).join(', ');
  const unknown = argv.find((word) => !SUITES.some(({ script }) => script === word));
  if (unknown !== undefined) fail(`${unknown} is no search; there are ${names}, and without a name all run`);
  const day = Math.floor(Date.now() / 86_400_000);
  let passed = 0;
  const suites = SUITES.filter(({ script }) => argv.length === 0 || argv.includes(script));
  const code = await sections(
    suites.map(({ title, minutes, script, argv: argvOf }) => ({
      title,
      run: async () => {
        const startedMs = Date.now();
        const budgetMs = minutes * 60_000;
        const result = await runNode(`tools/${script}/dist/main.js`, argvOf(day), budgetMs);
        // A program that was asked to end may end well: the budget is missed all the same.
        const isHeld = result === 0 && Date.now() - startedMs < budgetMs;
        if (isHeld) passed += 1;
        return isHeld ? 0 : 1;
      },
    })),
    [],
  );
  process.stdout.write(`\n${passed} passed, ${suites.length - passed} failed\n`);
  return code;
}

checkNode();
const [name = 'help', ...argv] = process.argv.slice(2);
const target = Object.hasOwn(TARGETS, name) ? TARGETS[name] : undefined;
if (target === undefined)
  fail(`usage: node tools/bootstrap.mjs <${Object.keys(TARGETS).join('|')}> [arguments]`);
refuseFlagsOfNpm(name);
await ensureInstalled();
if (target.built) await ensureBuilt();
process.exitCode = await target.run(argv);
