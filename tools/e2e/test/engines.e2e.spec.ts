/**
 * Goal: a cluster over every engine that may be chosen serves, comes back from a kill and does what
 * operators ask of engines; and a directory stays with the engine that made it. Method: real processes,
 * once with LevelDB, once with an engine from a module that somebody else might have written.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { CairnClient } from '@cairn/client';
import { endPrograms, ROOT, runProgram, type ProgramEnd } from '../src/programs.js';
import {
  eventually,
  removeTemporary,
  startTestCluster,
  temporaryDirectory,
  type TestCluster,
} from '../src/test-cluster.js';

const MODULE = join(ROOT, 'tools/e2e/test/foreign-engine.mjs');
const ROWS = 2_000;
const scratch = temporaryDirectory();

const clusters: TestCluster[] = [];

afterAll(async () => {
  await endPrograms();
  await Promise.all(clusters.map((each) => each.stop()));
  removeTemporary(scratch);
}, 60_000);

async function start(engine: string, shards: number): Promise<{ test: TestCluster; client: CairnClient }> {
  const flagsByKind = { shard: ['--engine', engine] };
  const test = await startTestCluster({ metadata: 1, shards, routers: 1, flagsByKind });
  clusters.push(test);
  const client = test.client();
  await client.ready({ timeoutMs: 20_000 });
  return { test, client };
}

const keyOf = (row: number): string => `row/${String(row).padStart(6, '0')}`;

async function fill(client: CairnClient): Promise<void> {
  for (let row = 0; row < ROWS; row += 500) {
    const part = Array.from({ length: 500 }, (_, at) => client.put(keyOf(row + at), `value ${row + at}`));
    await Promise.all(part);
  }
}

async function scanned(client: CairnClient): Promise<string[]> {
  const rows: string[] = [];
  for await (const { key, value } of client.scan({ prefix: 'row/' })) {
    rows.push(`${Buffer.from(key).toString()}=${Buffer.from(value).toString()}`);
  }
  return rows;
}

const allRows = Array.from({ length: ROWS }, (_, row) => `${keyOf(row)}=value ${row}`);

const cairn = ({ cluster }: TestCluster, ...flags: string[]): Promise<ProgramEnd> =>
  runProgram('cli', ['--endpoint', cluster.endpoints.routers.join(','), ...flags]);

async function refusalOf(test: TestCluster, name: string, engine: string): Promise<string> {
  const plan = test.cluster.nodes.find((node) => node.name === name);
  const metadata = test.cluster.nodes.find((node) => node.kind === 'metadata');
  if (plan === undefined || metadata === undefined) throw new Error(`no node ${name}`);
  const end = await runProgram('shard', [
    ...['--name', name, '--listen', plan.address, '--http-listen', plan.httpAddress],
    ...['--data-directory', plan.dataDirectory, '--metadata-addresses', metadata.address, '--engine', engine],
  ]);
  expect(end).toMatchObject({ code: 1, stderr: expect.stringMatching(/^cairn-shard: [^\n]+\n$/) });
  return end.stderr;
}

describe('a cluster over LevelDB', () => {
  it('serves, comes back from a kill, and compacts when it is asked to', async () => {
    const { test, client } = await start('classic-level', 3);
    await fill(client);
    expect(await scanned(client)).toEqual(allRows);
    await test.cluster.kill('shard-2');
    expect((await client.get(keyOf(7)))?.value).toBeDefined();
    expect(await refusalOf(test, 'shard-2', 'lsm')).toContain(
      'was made with the engine "classic-level" and cannot be used with "lsm"',
    );
    await test.cluster.restart('shard-2');
    expect(await scanned(client)).toEqual(allRows);
    const compacted = await cairn(test, 'compact', 'shard-1', '--wait');
    expect(compacted).toMatchObject({ code: 0, stdout: expect.stringMatching(/^done in /) });
    await eventually('all engines tell', async () => {
      const engines = await client.engines();
      return engines.length === 3 && engines.every(({ problem }) => problem === '') ? engines : undefined;
    });
    const shown = await cairn(test, 'engines');
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout.match(/classic-level/g)).toHaveLength(3);
    expect(await scanned(client)).toEqual(allRows);
  }, 120_000);
});

describe('a cluster over an engine from elsewhere', () => {
  it('serves, and tells the name that the engine has', async () => {
    const { test, client } = await start(pathToFileURL(MODULE).href, 1);
    await fill(client);
    expect(await scanned(client)).toEqual(allRows);
    const [engine] = await client.engines();
    expect(engine).toMatchObject({ name: 'shard-1', engine: 'foreign', problem: '', levels: [] });
    await client.compactEngine(engine?.storeId ?? 0, { start: 'row/', end: 'row0' });
    expect(await scanned(client)).toEqual(allRows);
    await test.cluster.kill('shard-1', 'SIGTERM');
    expect(await refusalOf(test, 'shard-1', 'lsm')).toContain('was made with the engine "foreign"');
    expect(await refusalOf(test, 'shard-1', './no-such-engine.mjs')).toContain(
      'the engine module "./no-such-engine.mjs" cannot be loaded',
    );
    const ending = join(scratch, 'ending.mjs');
    writeFileSync(ending, 'process.exit(0);\n');
    expect(await refusalOf(test, 'shard-1', ending)).toContain(
      `the engine module "${ending}" ended the process while it was loaded`,
    );
  }, 120_000);
});
