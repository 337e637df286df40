/**
 * Goal: whoever stops npm stops the cluster. Method: `npm start` as a user has it, ended by a signal to npm
 * alone, which passes it on to a shell that passes on nothing.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { connect } from 'node:net';
import { afterAll, expect, it } from '@jest/globals';
import { ROOT } from '../src/programs.js';
import { eventually, removeTemporary, temporaryDirectory } from '../src/test-cluster.js';

const directory = temporaryDirectory();
let npm: ChildProcess | undefined;
let output = '';

afterAll(() => {
  npm?.kill('SIGKILL');
  removeTemporary(directory);
});

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A base whose ports nobody has; a cluster of one node of each kind takes six of the next 101. */
async function freeBasePort(): Promise<number> {
  for (let base = 24_000; base < 32_000; base += 200) {
    const ports = [0, 10, 20, 80, 90, 100].map((offset) => base + offset);
    const taken = await Promise.all(ports.map(canConnect));
    if (!taken.includes(true)) return base;
  }
  throw new Error('no ports are free');
}

it('a cluster stops when npm is told to', async () => {
  const base = await freeBasePort();
  const counts = ['--shards', '1', '--metadata', '1', '--data-dir', directory, '--base-port', String(base)];
  npm = spawn('npm', ['start', '--', ...counts], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [npm.stdout, npm.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  await eventually('the cluster serves', () => (output.includes('Serving after') ? true : undefined), 60_000);
  expect(await canConnect(base)).toBe(true);
  npm.kill('SIGTERM');
  await eventually('the cluster said so', () => (output.includes('Stopped.') ? true : undefined), 30_000);
  for (const offset of [0, 10, 20]) expect(await canConnect(base + offset)).toBe(false);
}, 120_000);
