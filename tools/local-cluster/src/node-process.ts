import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { assert } from '@cairn/base';
import type { NodePlan } from './layout.js';
import { NODE_ENVIRONMENT, NODE_FLAGS } from './node-flags.js';

/** How a process ended. */
export interface ProcessEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessCommand {
  /** Path of the program, run by the same Node as this one. */
  readonly program: string;
  readonly flags: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

type State =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'running'; readonly child: ChildProcess; readonly ended: Promise<ProcessEnd> };

/** One operating-system process of the cluster; can be started again after it ended. */
export class NodeProcess {
  readonly plan: NodePlan;
  readonly #command: ProcessCommand;
  #state: State = { kind: 'stopped' };

  constructor(plan: NodePlan, command: ProcessCommand) {
    this.plan = plan;
    this.#command = command;
  }

  /** Undefined while it does not run. */
  get processId(): number | undefined {
    return this.#state.kind === 'running' ? this.#state.child.pid : undefined;
  }

  /**
   * Starts it; standard output and error go to its log file. In a process group of its own, so that Ctrl-C in
   * the terminal reaches only us and we decide who stops when. Resolves, with how it went, when the process
   * has ended.
   */
  start(): Promise<ProcessEnd> {
    assert(this.#state.kind === 'stopped', 'a node was started twice', { name: this.plan.name });
    const log = openSync(this.plan.logFile, 'a');
    const { program, flags, env } = this.#command;
    const node = [process.execPath, ...NODE_FLAGS, program, ...flags];
    const [executable = process.execPath, ...args] = [...this.plan.launcher, ...node];
    const child = spawn(executable, args, {
      env: { ...NODE_ENVIRONMENT, ...env },
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    const ended = new Promise<ProcessEnd>((resolve) => {
      const end = (result: ProcessEnd): void => {
        this.#state = { kind: 'stopped' };
        resolve(result);
      };
      child.once('exit', (code, signal) => end({ code, signal }));
      child.once('error', () => end({ code: 127, signal: null }));
    });
    this.#state = { kind: 'running', child, ended };
    return ended;
  }

  /** Sends a signal; false when it does not run. */
  signal(signal: NodeJS.Signals): boolean {
    return this.#state.kind === 'running' && this.#state.child.kill(signal);
  }

  /** Resolves when it has ended; at once when it does not run. */
  async ended(): Promise<void> {
    if (this.#state.kind === 'running') await this.#state.ended;
  }
}

const TAIL_BYTES = 16_384;

/** The last lines of a log file; none when there is no file. */
export function lastLines(path: string, count: number): string[] {
  if (!existsSync(path)) return [];
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(file, bytes, 0, bytes.length, size - bytes.length);
    return bytes
      .toString('utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count);
  } finally {
    closeSync(file);
  }
}
