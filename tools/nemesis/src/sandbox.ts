import { spawn } from 'node:child_process';
import { runCommand } from './commands.js';

/** Namespaces of our own: for networks, mounts and processes. All that is made in there ends with them. */
const UNSHARE = ['--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child'] as const;
/** For those who are not root, where the machine lets them be root of a sandbox. */
const AS_ROOT = ['--user', '--map-root-user'] as const;

/** What a sandbox has to be able to do to be of use: mounts, and a pair of network devices. */
const PROBE = [
  'mount -t tmpfs tmpfs /run',
  'ip link add name hub type bridge',
  'ip netns add probe',
  'ip link add name probe type veth peer name eth0 netns probe',
].join(' && ');

/** Arguments of `unshare` that make a working sandbox here; undefined when there are none. */
export async function findSandbox(): Promise<readonly string[] | undefined> {
  for (const args of [UNSHARE, [...AS_ROOT, ...UNSHARE]]) {
    const { code } = await runCommand('unshare', [...args, 'sh', '-c', PROBE]);
    if (code === 0) return args;
  }
  return undefined;
}

/** Tells the one inside to stop; whoever asks twice does not wait. */
export const STOP_MESSAGE = 'stop';

/**
 * Runs this program once more, inside a sandbox. Requests to stop are passed on; should we be killed, the one
 * inside notices and stops. Resolves with its exit code, 130 when it was killed.
 */
export function runInside(
  sandbox: readonly string[],
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const node = [process.execPath, '--enable-source-maps', ...args];
    const child = spawn('unshare', [...sandbox, ...node], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // Ctrl-C reaches us alone, and we decide.
      detached: true,
    });
    let isStopping = false;
    const stop = (): void => {
      if (isStopping || !child.connected) child.kill('SIGKILL');
      else child.send(STOP_MESSAGE);
      isStopping = true;
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
    for (const signal of signals) process.on(signal, stop);
    child.on('error', reject);
    child.on('exit', (code) => {
      for (const signal of signals) process.off(signal, stop);
      resolve(code ?? 130);
    });
  });
}
