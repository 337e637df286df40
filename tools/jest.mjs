/**
 * Runs jest with what ESM needs, on the packaged Node where there is one:
 * `node tools/jest.mjs libs/consensus/raft -t 'name of a test'`.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const jest = join(root, 'node_modules/jest/bin/jest.js');
// ESM under jest is still behind a flag, and the warning about it would come once per worker.
const flags = '--experimental-vm-modules --disable-warning=ExperimentalWarning';
if (!existsSync(jest)) {
  process.stderr.write('Nothing is installed here yet: run `npm run build` once, then this again.\n');
  process.exit(1);
}
const packaged = join(root, 'node_modules/.bin/node');
const child = spawn(existsSync(packaged) ? packaged : process.execPath, [jest, ...process.argv.slice(2)], {
  cwd: root,
  env: { ...process.env, NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} ${flags}`.trim() },
  stdio: 'inherit',
});
child.on('close', (code, signal) => {
  process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
});
