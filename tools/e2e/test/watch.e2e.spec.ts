/** Goal: watches tell every change once and in order, over splits, failovers and lost routers. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import type { CairnClient, Change } from '@cairn/client';

import { eventually, startTestCluster, type TestCluster } from '../src/index.js';

let test: TestCluster;
let client: CairnClient;

beforeAll(async () => {
  test = await startTestCluster({ shards: 3, metadata: 1, routers: 2 });
  client = test.client();
  await client.ready();
}, 120_000);

afterAll(async () => {
  await test.stop();
}, 60_000);

/** Takes what comes, until it is stopped. */
function follow(options: Parameters<CairnClient['watch']>[0]): {
  readonly told: Change[];
  readonly started: Promise<number>;
  stop(): Promise<void>;
} {
  const watch = client.watch(options);
  const told: Change[] = [];
  const started = watch.start();
  const done = (async () => {
    await started;
    for await (const change of watch) told.push(change);
  })().catch((error: unknown) => {
    if (!CairnError.is(error) || error.code !== 'CANCELLED') throw error;
  });
  return {
    told,
    started,
    stop: () => {
      watch.close();
      return done;
    },
  };
}

describe('a watch of a real cluster', () => {
  it('tells a change within the time of a round trip', async () => {
    const { told, started, stop } = follow({ prefix: 'soon/' });
    await started;
    const tookMs: number[] = [];
    for (let at = 0; at < 20; at += 1) {
      const beganMs = performance.now();
      await client.put(`soon/${at}`, String(at));
      await eventually('the change', () => (told.length > at ? true : undefined));
      tookMs.push(performance.now() - beganMs);
    }
    expect(told.map((change) => change.text())).toEqual(Array.from({ length: 20 }, (_, at) => String(at)));
    tookMs.sort((one, other) => one - other);
    expect(tookMs[10]).toBeLessThan(500);
    await stop();
  }, 60_000);

  it('tells transactions over ranges whole, and everything once while ranges are cut and a router is lost', async () => {
    const { told, started, stop } = follow({ prefix: 'k/', withPrevious: true });
    const from = await started;
    const keys = Array.from({ length: 12 }, (_, at) => `k/${String(at).padStart(2, '0')}`);
    const writes = async (): Promise<void> => {
      for (let round = 0; round < 40; round += 1) {
        const key = keys[round % keys.length] as string;
        await client.put(key, `put ${round}`);
        await client.transaction((tx) => {
          for (const each of keys.slice(round % 6, (round % 6) + 6)) tx.put(each, `tx ${round}`);
        });
      }
    };
    const writing = writes();
    await client.splitRanges(['k/04', 'k/08']);
    await writing;
    const { endpoint } = await client.ready();
    const at = test.cluster.endpoints.routers.indexOf(endpoint);
    await test.cluster.kill(`router-${at + 1}`);
    await writes();
    await eventually('all changes', () => (told.length >= 2 * 40 * 7 ? true : undefined), 30_000);
    expect(told).toHaveLength(2 * 40 * 7);
    const order = told.map(({ timestamp, transaction = 0 }) => [timestamp, transaction] as const);
    for (const [index, [timestamp, transaction]] of order.entries()) {
      const [before, beforeIt] = order[index - 1] ?? [from, 0];
      expect(timestamp > before || (timestamp === before && transaction >= beforeIt)).toBe(true);
    }
    const byTransaction = Map.groupBy(told, ({ transaction }) => transaction);
    for (const [transaction, changes] of byTransaction) {
      if (transaction !== undefined) expect(changes).toHaveLength(6);
    }
    // Each tells what the one before it has made.
    const values = new Map<string, string>();
    for (const change of told) {
      expect(change.previous?.value.toString()).toBe(values.get(change.keyText()));
      values.set(change.keyText(), change.text());
    }
    await stop();
    const token = told[99]?.token ?? '';
    const again = follow({ prefix: 'k/', from: token });
    await eventually('the rest', () => (again.told.length >= told.length - 100 ? true : undefined), 30_000);
    expect(again.told.map((change) => change.token)).toEqual(told.slice(100).map((change) => change.token));
    await again.stop();
  }, 120_000);

  it('refuses a timestamp that was not issued', async () => {
    const future = (await client.timestamp()) + 4096 * 3_600_000;
    const { started, stop } = follow({ from: future });
    await expect(started).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'timestamp' },
    });
    await stop().catch(() => undefined);
  });
});
