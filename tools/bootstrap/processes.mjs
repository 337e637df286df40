/** Programs that a script runs: quietly, with our terminal, or for no longer than they may. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { clearTimeout, setTimeout } from 'node:timers';
import { BIN, ROOT } from './places.mjs';
import { fail, say } from './say.mjs';

const NODE_MIN = '20.3';
const NODE_MAJOR_WANTED = 24;
const PROGRESS_INTERVAL_MS = 10_000;
const PARENT_INTERVAL_MS = 500;
/** Between asking a program to end and ending it. */
const GRACE_MS = 20_000;
const OUTPUT_CHARS_MAX = 200_000;
/** Of what bounded programs printed, on each output: enough for why one failed. */
const TAIL_CHARS_MAX = 3_000;
/** What a program has left behind may hold its output open: it is not waited for. */
const DRAIN_MS = 2_000;
/** For installing and for building: far above what a slow machine needs. */
const QUIET_MS_MAX = 15 * 60_000;

export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [majorMin, minorMin] = NODE_MIN.split('.').map(Number);
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return;
  fail(
    `Node ${process.versions.node} is too old to begin with: ${NODE_MIN} or newer is needed. ` +
      `Get one from https://nodejs.org and run the command again.`,
  );
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

function environment(more = {}) {
  return {
    ...process.env,
    ...more,
    PATH: [BIN, process.env.PATH ?? ''].join(delimiter),
    NX_DAEMON: 'false',
    NX_TUI: 'false',
  };
}

/**
 * Runs a program, keeps its output, and shows that something happens. One that takes longer than it may is
 * ended and has failed. Resolves with the exit code.
 */
export function runQuietly(command, args, what) {
  return new Promise((resolve) => {
    const startedMs = Date.now();
    const child = spawn(command, args, { cwd: ROOT, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-OUTPUT_CHARS_MAX);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const progress = setInterval(() => {
      say(`  … ${what}, ${Math.round((Date.now() - startedMs) / 1000)} s`);
    }, PROGRESS_INTERVAL_MS);
    const end = (code, text) => {
      clearInterval(progress);
      clearTimeout(limit);
      resolve({ code, output: output + text, seconds: (Date.now() - startedMs) / 1000 });
    };
    const limit = setTimeout(() => {
      child.kill('SIGKILL');
      // What it has started may hold its output open: nobody waits for that.
      end(1, `${what} was not done after ${minutesOf(QUIET_MS_MAX)} minutes\n`);
    }, QUIET_MS_MAX);
    child.on('error', (error) => end(1, `${command}: ${error.message}\n`));
    child.on('close', (code) => end(code ?? 1, ''));
  });
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

/** Calls back on signals and when npm is gone, until the returned function is called. */
function onSignals(onInterrupt, onTerminate) {
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onTerminate);
  const stopWatching = watchNpm(onTerminate);
  return () => {
    stopWatching();
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onTerminate);
  };
}

/**
 * Runs a program with our terminal until it ends. Signals reach it directly or are passed on; it decides
 * when to end. Resolves with its exit code.
 */
export function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, env: environment(), stdio: 'inherit' });
    // The terminal sends Ctrl-C to the whole process group: the child has it already and must not get it
    // twice.
    const stopListening = onSignals(
      () => undefined,
      () => child.kill('SIGTERM'),
    );
    child.on('error', (error) => {
      stopListening();
      say(`${command}: ${error.message}`);
      resolve(1);
    });
    child.on('close', (code, signal) => {
      stopListening();
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/** Sends a signal to a program and to all that it started and that is in its process group. */
function signalGroup(child, signal) {
  try {
    if (process.platform === 'win32') child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch (error) {
    // Nobody of the group is left.
    if (error.code !== 'ESRCH') throw error;
  }
}

const tails = { stdout: '', stderr: '' };

/** The end of what bounded programs have printed since this was last called; nothing of it on a terminal. */
export function takeTail() {
  const taken = tails.stdout + tails.stderr;
  tails.stdout = '';
  tails.stderr = '';
  return taken;
}

/** Passes on what a program prints, and keeps the end of it. Resolves when there will be no more. */
function passOn(child, name) {
  return new Promise((resolve) => {
    if (child[name] === null) return resolve();
    child[name].on('data', (chunk) => {
      process[name].write(chunk);
      tails[name] = (tails[name] + chunk).slice(-TAIL_CHARS_MAX);
    });
    child[name].on('close', resolve);
  });
}

/**
 * Runs a program that must end by itself within its time. It leads a process group of its own, so that
 * whatever it has started ends with it: a test runner that is told to end leaves workers behind that hold
 * the output open. A program that takes longer is asked to end, then ended. Resolves with its exit code.
 * `more` goes into its environment.
 */
export function runBounded(command, args, budgetMs, more = {}) {
  return new Promise((resolve) => {
    // Colours and progress need the terminal itself; whoever reads it there needs no tail.
    const output = process.stdout.isTTY ? 'inherit' : 'pipe';
    const child = spawn(command, args, {
      cwd: ROOT,
      env: environment(more),
      stdio: ['ignore', output, output],
      detached: process.platform !== 'win32',
    });
    const printed = Promise.all([passOn(child, 'stdout'), passOn(child, 'stderr')]);
    if (child.pid === undefined) {
      child.on('error', (error) => {
        say(`${command}: ${error.message}`);
        resolve(1);
      });
      return;
    }
    let isLate = false;
    const ask = setTimeout(() => {
      isLate = true;
      say(`not done after ${minutesOf(budgetMs)} minutes, which is all that it may take`);
      signalGroup(child, 'SIGTERM');
    }, budgetMs);
    const force = setTimeout(() => signalGroup(child, 'SIGKILL'), budgetMs + GRACE_MS);
    const stopListening = onSignals(
      () => signalGroup(child, 'SIGINT'),
      () => signalGroup(child, 'SIGTERM'),
    );
    child.on('exit', (code, signal) => {
      clearTimeout(ask);
      clearTimeout(force);
      stopListening();
      signalGroup(child, 'SIGKILL');
      const exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
      // A program that was asked to end may end well: the budget is missed all the same.
      const end = () => resolve(isLate && exitCode === 0 ? 1 : exitCode);
      const drained = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        end();
      }, DRAIN_MS);
      void printed.then(() => {
        clearTimeout(drained);
        end();
      });
    });
  });
}

/** 90,000 as `1.5`. */
export function minutesOf(ms) {
  return String(Math.round(ms / 6_000) / 10);
}

/** A compiled program, as command and arguments. */
export function nodeCommand(script, argv) {
  if (!existsSync(join(ROOT, script))) fail(`${script} does not exist in this checkout.`);
  return [nodePath(), ['--enable-source-maps', join(ROOT, script), ...argv]];
}

export function binCommand(name, argv) {
  return [join(BIN, name), argv];
}

/** Jest with what ESM needs. */
export function jestCommand(argv) {
  return [nodePath(), [join(ROOT, 'tools/jest.mjs'), ...argv]];
}
