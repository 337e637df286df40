import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

let watchdog: ChildProcess | undefined;

/** In a process group of its own, which Ctrl-C does not reach; holds up nobody who wants to leave. */
function start(): ChildProcess {
  const script = fileURLToPath(new URL('../test/watchdog.mjs', import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
  child.unref();
  const input = child.stdin as unknown as { unref(): void };
  input.unref();
  return child;
}

/** From now on the nodes of a cluster in this directory do not outlive the test run, however it ends. */
export function watchDirectory(directory: string): void {
  watchdog ??= start();
  watchdog.stdin?.write(`watch ${directory}\n`);
}

/** The cluster of this directory was stopped. */
export function forgetDirectory(directory: string): void {
  watchdog?.stdin?.write(`forget ${directory}\n`);
}
