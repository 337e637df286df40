/**
 * Goal: the largest and the smallest that settings and flags allow work in real processes, through restarts,
 * splits, scans, export and import. Method: one cluster with the largest keys and values, killed and
 * started again; one with the smallest keys, values, segments, caches and queues.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { CairnError, type CairnClient } from '@cairn/client';
import { runProgram } from '../src/programs.js';
import { eventually, startTestCluster, type TestCluster } from '../src/test-cluster.js';

const MIB = 1024 * 1024;
const SHARDS = ['shard-1', 'shard-2', 'shard-3'] as const;
const TIMEOUT = { timeoutMs: 30_000 } as const;

const started: TestCluster[] = [];

async function start(flags: readonly string[]): Promise<TestCluster> {
  const test = await startTestCluster({
    metadata: 1,
    shards: 3,
    routers: 1,
    flagsByKind: { shard: flags },
  });
  started.push(test);
  return test;
}

afterAll(async () => {
  for (const test of started) await test.stop();
});

/** Bytes that do not compress and are different for each seed. */
function noise(seed: string, bytes: number): Buffer {
  const block = Buffer.concat(
    Array.from({ length: 64 }, (_, at) => createHash('sha512').update(`${seed}/${at}`).digest()),
  );
  return Buffer.alloc(bytes, block);
}

async function settingIs(client: CairnClient, name: string, value: string): Promise<void> {
  await client.putSetting(name, value);
  // Routers and nodes hear of it with their next heartbeat.
  await eventually(`${name} is ${value}`, async () => {
    const found = (await client.settings()).find((setting) => setting.name === name);
    return found?.value === value ? true : undefined;
  });
}

/** Puts again what a slow machine leaves nobody sure of: these puts are the same however often they happen. */
async function put(client: CairnClient, key: string | Buffer, value: Buffer): Promise<void> {
  const told = typeof key === 'string' ? key : `a key of ${key.length} bytes`;
  const done = async (): Promise<true | undefined> => {
    try {
      await client.put(key, value, TIMEOUT);
      return true;
    } catch (error) {
      if (CairnError.is(error) && error.retryClass === 'undetermined') return undefined;
      throw error;
    }
  };
  await eventually(`${told} is put`, done, 2 * TIMEOUT.timeoutMs);
}

/** Every key with a sum of its value, so that failures are short. */
async function contentOf(client: CairnClient): Promise<Map<string, string>> {
  const content = new Map<string, string>();
  for await (const row of client.scan(TIMEOUT)) {
    content.set(
      row.key.toString('latin1'),
      `${row.value.length} ${createHash('md5').update(row.value).digest('hex')}`,
    );
  }
  return content;
}

async function killAll(test: TestCluster): Promise<void> {
  await Promise.all(SHARDS.map((name) => test.cluster.kill(name)));
  await Promise.all(SHARDS.map((name) => test.cluster.restart(name)));
}

describe('the largest', () => {
  let test: TestCluster;
  let client: CairnClient;
  let before: Map<string, string>;

  it('keys of 32,768 zero bytes and values of 8 MiB are taken and read', async () => {
    test = await start([]);
    client = test.client();
    await settingIs(client, 'key.max_bytes', '32768');
    await settingIs(client, 'value.max_bytes', String(8 * MIB));
    const longest = Buffer.alloc(32_768);
    await eventually('the longest key is taken', async () => {
      try {
        await client.put(longest, 'zeros', TIMEOUT);
        return true;
      } catch {
        // The router has not heard of the new limit.
        return undefined;
      }
    });
    await put(client, Buffer.alloc(32_768, 0x7e), noise('long', 100));
    await put(client, 'a', Buffer.alloc(0));
    await client.splitRanges(['m']);
    for (const side of ['a', 'z']) {
      for (let at = 0; at < 4; at += 1) await put(client, `${side}/${at}`, noise(`${side}${at}`, 8 * MIB));
    }
    expect((await client.get(longest, TIMEOUT))?.text()).toBe('zeros');
    expect((await client.get('a', TIMEOUT))?.value.length).toBe(0);
    const largest = await client.get('z/3', TIMEOUT);
    expect(largest?.value.equals(noise('z3', 8 * MIB))).toBe(true);
    await expect(client.put(Buffer.alloc(32_769), 'x', TIMEOUT)).rejects.toThrow(/32768/);
    await expect(client.put('b', Buffer.alloc(8 * MIB + 1), TIMEOUT)).rejects.toThrow(/8388608/);
  });

  it('one call reads a hundred values of a megabyte, and every node lives', async () => {
    const keys = Array.from({ length: 100 }, (_, at) => `many/${at}`);
    for (let from = 0; from < keys.length; from += 10)
      await Promise.all(keys.slice(from, from + 10).map((key) => put(client, key, noise(key, MIB))));
    const found = await client.getMany(keys, { timeoutMs: 60_000 });
    expect(found.map((entry) => entry?.value.length)).toEqual(keys.map(() => MIB));
    for (const name of SHARDS) expect(test.cluster.processId(name)).toBeDefined();
    // What comes after is as true of fewer.
    expect(await client.deleteRange({ start: 'many/3', end: 'many0' }, TIMEOUT)).toBe(77);
  });

  it('everything is there after all shard nodes were killed', async () => {
    before = await contentOf(client);
    expect(before.size).toBe(34);
    await killAll(test);
    expect(await contentOf(client)).toEqual(before);
  });

  it('a cut between the longest keys is made, and one longer than a key refused', async () => {
    await client.splitRanges([Buffer.alloc(32_768, 0x7e)]);
    await expect(client.splitRanges([Buffer.alloc(100_000, 1)])).rejects.toThrow(/bytes/);
    expect(await contentOf(client)).toEqual(before);
  });

  it('what is exported is imported, whatever its size', async () => {
    const file = join(test.directory, 'all.ndjson');
    const endpoint = ['--endpoint', test.cluster.endpoints.routers[0] ?? '', '--timeout', '60s'];
    const out = await runProgram('cli', [...endpoint, 'export', file], { timeoutMs: 90_000 });
    expect(out).toMatchObject({ code: 0 });
    expect(statSync(file).size).toBeGreaterThan(100 * MIB);
    expect(readFileSync(file).subarray(-1).toString()).toBe('\n');
    expect(await client.deleteRange({ all: true }, { timeoutMs: 60_000 })).toBe(before.size);
    const back = await runProgram('cli', [...endpoint, 'import', file], { timeoutMs: 90_000 });
    expect(back).toMatchObject({ code: 0 });
    expect(await contentOf(client)).toEqual(before);
  });
});

describe('the smallest', () => {
  it('settings, segments, caches and queues at their least serve, through a restart', async () => {
    const least = ['--raft-log-segment-bytes', String(MIB), '--raft-log-cache-bytes', String(MIB)];
    least.push(
      '--block-cache-bytes',
      String(MIB),
      '--index-cache-bytes',
      '0',
      '--write-buffer-bytes',
      String(MIB),
    );
    least.push('--row-cache-bytes', '0', '--proposal-queue-bytes-max', String(32 * MIB));
    const test = await start(least);
    const client = test.client();
    await settingIs(client, 'key.max_bytes', '64');
    await settingIs(client, 'value.max_bytes', '1024');
    await settingIs(client, 'range.target_bytes', String(32 * 1024));
    await settingIs(client, 'range.split_bytes', String(64 * 1024));
    const keys = Array.from({ length: 2_000 }, (_, at) => String(at).padStart(64, '0'));
    for (let from = 0; from < keys.length; from += 100) {
      const part = keys.slice(from, from + 100);
      await Promise.all(part.map((key) => put(client, key, noise(key, 1_024))));
    }
    await eventually(
      'large ranges were cut',
      async () => ((await client.ranges()).length > 5 ? true : undefined),
      60_000,
    );
    const before = await contentOf(client);
    expect(before.size).toBe(keys.length);
    await killAll(test);
    expect(await contentOf(client)).toEqual(before);
    const pages = client.pages({ pageBytes: 1, ...TIMEOUT });
    const first = await pages[Symbol.asyncIterator]().next();
    expect(first.done === true ? 0 : first.value.rows.length).toBe(1);
    await expect(client.put('k'.repeat(65), 'x', TIMEOUT)).rejects.toThrow(/64/);
  });
});
