#!/usr/bin/env node
// Plain JavaScript that any Node runs: it finds the Node this workspace pins when the one at hand is older, and the
// built command line. `npm install` can link it before anything is built.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath, URL } from 'node:url';

const NEEDED = [22, 12];
const [major, minor] = process.versions.node.split('.').map(Number);
const isOld = major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1]);
const built = new URL('../dist/main.js', import.meta.url);

if (isOld) {
  const pinned = fileURLToPath(new URL('../../../node_modules/.bin/node', import.meta.url));
  if (!existsSync(pinned) || process.env.CAIRN_REEXECUTED === '1') {
    process.stderr.write(
      `cairn: needs Node ${NEEDED.join('.')} or newer, this is ${process.versions.node}\n`,
    );
    process.exit(2);
  }
  const child = spawnSync(pinned, process.argv.slice(1), {
    stdio: 'inherit',
    env: { ...process.env, CAIRN_REEXECUTED: '1' },
  });
  process.exit(child.status ?? 130);
}

if (!existsSync(built)) {
  process.stderr.write('cairn: not built yet; run this once in the checkout: npm start\n');
  process.exit(2);
}

const { main } = await import(built.href);
process.exitCode = await main();
