import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

export interface ChildOptions {
  readonly stdio: StdioOptions;
  readonly env?: NodeJS.ProcessEnv;
}

/** A stopped process gets this long to leave by itself. */
const STOP_TIMEOUT_MS = 10_000;

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

/**
 * The processes that the benchmark started. Each is a process group of its own, so that Ctrl-C reaches only
 * the benchmark, which ends them by id: in order with `stop`, and in any case when it leaves itself.
 */
export class Children {
  readonly #running = new Set<ChildProcess>();
  readonly #onExit = (): void => this.killAll();

  /** Starts a program. A program that cannot be started emits 'error'. */
  start(command: string, args: readonly string[], options: ChildOptions): ChildProcess {
    const child = spawn(command, args, { ...options, env: options.env ?? process.env, detached: true });
    if (this.#running.size === 0) process.on('exit', this.#onExit);
    this.#running.add(child);
    const forget = (): void => {
      this.#running.delete(child);
      if (this.#running.size === 0) process.off('exit', this.#onExit);
    };
    child.once('exit', forget);
    child.once('error', forget);
    return child;
  }

  /** Asks the processes to end, kills those that do not, resolves when all are gone. */
  async stop(children: readonly ChildProcess[] = [...this.#running]): Promise<void> {
    await Promise.all(children.map(stopChild));
  }

  /** Kills all processes at once, without waiting for their end. */
  killAll(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const waiting = new AbortController();
  const late = delay(STOP_TIMEOUT_MS, 'late', { signal: waiting.signal }).catch(() => 'ended');
  const first = await Promise.race([ended.then(() => 'ended'), late]);
  waiting.abort();
  if (first !== 'late') return;
  child.kill('SIGKILL');
  await ended;
}
