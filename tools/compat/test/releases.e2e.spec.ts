/**
 * Goal: data that any release left behind is read by this one, for ever, and written on. Method: a cluster of
 * real processes of this build is started on a copy of what each release left.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';
import { CLUSTER_VERSIONS } from '@cairn/base';
import { eventually, removeTemporary, temporaryDirectory } from '@cairn/e2e';

import { open, type Opened } from '../src/cluster.js';
import { contentOf, readExpected } from '../src/content.js';
import { unpack } from '../src/packed.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const RELEASES = readdirSync(HERE).filter((name) => /^\d+\.\d+$/.test(name));

it('has what the first release left', () => {
  expect(RELEASES).toContain('0.1');
});

describe.each(RELEASES)('data of release %s', (release) => {
  const from = join(HERE, release);
  const expected = readExpected(from);
  const root = temporaryDirectory();
  const directory = join(root, 'data');
  let opened: Opened | undefined;

  const start = async (): Promise<Opened> => {
    opened = await open(directory, expected.nodes);
    return opened;
  };

  afterAll(async () => {
    await opened?.close();
    removeTemporary(root);
  });

  it('is there, whole, and nothing that was gone came back', async () => {
    mkdirSync(directory);
    unpack(from, directory);
    const { client } = await start();
    const { rows, settings, ranges, stores, clusterVersion } = expected;
    const content = await contentOf(client);
    expect(content).toMatchObject({ settings, ranges, stores });
    expect(content.rows).toEqual(rows);
    expect(content.clusterVersion).toBeGreaterThanOrEqual(clusterVersion);
    for (const [key, { expires }] of Object.entries(rows)) {
      const found = await client.get(Buffer.from(key, 'hex'));
      expect([key, found?.expiresAtMs !== undefined]).toEqual([key, expires]);
    }
    for (const gone of ['row-010', 'row-022', 'row-050', 'expired']) {
      expect([gone, await client.get(gone)]).toEqual([gone, undefined]);
    }
    expect(await client.increment('counter', 1)).toBe(143n);
  });

  it('is raised to the newest cluster version of this build', async () => {
    const client = opened?.client;
    await eventually(
      'the cluster version is the newest',
      async () => ((await client?.status())?.clusterVersion === CLUSTER_VERSIONS.max ? true : undefined),
      30_000,
    );
  });

  it('is written on, cut, and read again by processes that were started anew', async () => {
    const client = opened?.client;
    await client?.put('row-001', 'of this release');
    await client?.put('new', 'of this release');
    await client?.delete('large');
    await client?.persist('expires-far');
    await client?.splitRanges(['row-05']);
    const before = client === undefined ? undefined : await contentOf(client);
    await opened?.close();
    const again = await start();
    expect(await contentOf(again.client)).toEqual(before);
    expect((await again.client.get('row-001'))?.value.toString()).toBe('of this release');
    expect(before).toMatchObject({ ranges: expected.ranges + 1 });
  });
});
