import { spawn, type ChildProcess } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

/** What can be run: the applications as they were built. */
export type Program = 'metadata' | 'shard' | 'router' | 'cli';

/** How a program ended, and everything it wrote. */
export interface ProgramEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs. */
export interface RunningProgram {
  readonly processId: number;
  readonly ended: Promise<ProgramEnd>;
  /** What it wrote to standard error so far. */
  stderr(): string;
  kill(signal?: NodeJS.Signals): void;
}

export interface ProgramOptions {
  readonly cwd?: string;
  /** Killed when it runs longer than this; its end then has the signal SIGKILL. Default: 30 s. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
/** Programs that have not ended: what `endPrograms` has to look after. */
const running = new Set<ChildProcess>();

/**
 * The environment of programs under test: they are configured by flags alone, and the flags that jest needs
 * for itself must not reach them.
 */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('CAIRN_') && !name.startsWith('JEST_') && name !== 'NODE_OPTIONS',
  );
  return { ...Object.fromEntries(kept), NODE_ENV: 'production' };
}

/** Starts a built application with the Node that runs the tests. */
export function startProgram(
  program: Program,
  flags: readonly string[],
  options: ProgramOptions = {},
): RunningProgram {
  const script = join(ROOT, 'apps', program, 'dist/main.js');
  const child = spawn(process.execPath, ['--enable-source-maps', script, ...flags], {
    cwd: options.cwd ?? ROOT,
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? TIMEOUT_MS);
  const ended = new Promise<ProgramEnd>((fulfil, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      fulfil({ code, signal, stdout, stderr });
    });
  });
  return {
    processId: child.pid ?? 0,
    ended,
    stderr: () => stderr,
    kill: (signal = 'SIGKILL') => void child.kill(signal),
  };
}

/** Runs a program to its end. */
export function runProgram(
  program: Program,
  flags: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramEnd> {
  return startProgram(program, flags, options).ended;
}

/** Kills, by process id, every program that a failed test left running. For `afterAll`. */
export async function endPrograms(): Promise<void> {
  const all = [...running];
  await Promise.all(
    all.map(
      (child) =>
        new Promise<void>((fulfil) => {
          child.once('close', () => fulfil());
          child.kill('SIGKILL');
        }),
    ),
  );
}
