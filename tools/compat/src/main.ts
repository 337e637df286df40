import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, VERSION } from '@cairn/base';
import { eventually } from '@cairn/e2e';
import type { CairnClient } from '@cairn/client';

import { NODES, open } from './cluster.js';
import { contentOf, writeExpected, type Content } from './content.js';
import { pack } from './packed.js';
import { writeFirst, writeSecond } from './script.js';

const USAGE =
  'usage: npm run compat\n  makes the data directories of this release anew; commit what comes out';
const HERE = resolve(fileURLToPath(new URL('..', import.meta.url)));
/** Everybody who has the repository has these bytes. */
const PACKED_BYTES_MAX = 1024 * 1024;
/** Its directory is lost on the way, so that a store is replaced and gets its replicas as snapshots. */
const LOST = { name: 'shard-3', storeId: 3, replacedBy: 4 };
/** Killed at the end, so that a log is left whose last entries no engine has. */
const KILLED = 'shard-1';

async function replaced(client: CairnClient): Promise<true | undefined> {
  const { problems, unsettled } = await client.status();
  const ranges = await client.ranges();
  const isEverywhere = ranges.every(({ replicas }) =>
    replicas.some(({ storeId, role }) => storeId === LOST.replacedBy && role === 'voter'),
  );
  return problems.length === 0 && unsettled.length === 0 && isEverywhere ? true : undefined;
}

async function write(directory: string): Promise<Content> {
  const first = await open(directory, NODES);
  await writeFirst(first.client);
  await first.close();
  rmSync(join(directory, LOST.name), { recursive: true });
  const second = await open(directory, NODES, ['--replace-lost-store', String(LOST.storeId)]);
  await eventually('the lost store is replaced', () => replaced(second.client), 60_000);
  await writeSecond(second.client);
  const content = await contentOf(second.client);
  await second.cluster.kill(KILLED);
  await second.close();
  return content;
}

async function main(argv: readonly string[]): Promise<number> {
  if (argv.length > 0) {
    process.stdout.write(`${USAGE}\n`);
    return argv.includes('--help') ? 0 : 2;
  }
  const directory = mkdtempSync(join(tmpdir(), 'cairn-compat-'));
  const target = join(HERE, VERSION.split('.').slice(0, 2).join('.'));
  try {
    const content = await write(directory);
    const bytes = pack(directory, target);
    writeExpected(target, { release: VERSION, nodes: NODES, ...content });
    process.stdout.write(`${target}: ${Object.keys(content.rows).length} rows, ${bytes} bytes packed\n`);
    if (bytes <= PACKED_BYTES_MAX) return 0;
    process.stderr.write(`that is more than ${PACKED_BYTES_MAX} bytes\n`);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return 1;
}

process.exitCode = await main(process.argv.slice(2));
