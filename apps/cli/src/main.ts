#!/usr/bin/env node
// The entry must run on whatever Node the machine has: it imports nothing of ours before it knows that this
// one will do, and hands over to the Node that the workspace pins when it will not.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath, URL } from 'node:url';

const NODE_MAJOR_MIN = 22;
const NODE_MINOR_MIN = 12;
const HANDED_OVER = 'CAIRN_HANDED_OVER';

function isNodeTooOld(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major < NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor < NODE_MINOR_MIN);
}

/** Runs this same program under the pinned Node, as if it were this process. */
function handOver(): Promise<number> {
  const pinned = fileURLToPath(new URL('../../../node_modules/.bin/node', import.meta.url));
  if (process.env[HANDED_OVER] === '1' || !existsSync(pinned)) {
    const needed = `${NODE_MAJOR_MIN}.${NODE_MINOR_MIN}`;
    process.stderr.write(
      `cairn: needs Node ${needed} or newer, this is ${process.versions.node}; run npm start in the checkout once\n`,
    );
    return Promise.resolve(2);
  }
  return new Promise((resolve) => {
    const env = { ...process.env, [HANDED_OVER]: '1' };
    const child = spawn(pinned, process.argv.slice(1), { stdio: 'inherit', env });
    // The terminal sends Ctrl-C to both; the child decides when to end. Other signals reach only us.
    process.on('SIGINT', () => undefined);
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.once('error', (error) => {
      process.stderr.write(`cairn: ${error.message}\n`);
      resolve(2);
    });
    child.once('close', (code) => {
      resolve(code ?? 130);
    });
  });
}

if (isNodeTooOld()) {
  process.exitCode = await handOver();
} else {
  const { runProcess } = await import('./process-io.js');
  process.exitCode = await runProcess();
}
