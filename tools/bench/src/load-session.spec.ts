import { afterEach, describe, expect, test } from '@jest/globals';
import { FakeRouter } from '@cairn/client/testing';
import type { LoadRequest } from './load-messages.js';
import { LoadSession } from './load-session.js';

const KEYS = 40;
const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open(): Promise<{ router: FakeRouter; session: LoadSession }> {
  const router = await FakeRouter.start();
  closers.push(() => router.kill());
  const endpoints = [router.endpoint];
  const session = await LoadSession.open({ system: 'cairn', endpoints, keys: KEYS, valueBytes: 64 });
  closers.push(() => session.close());
  return { router, session };
}

function run(work: 'put' | 'mix' | 'stale' | 'scan'): LoadRequest {
  return {
    kind: 'run',
    work,
    outstanding: 4,
    warmupMs: 5,
    durationMs: 400,
    seed: 1,
    processIds: [process.pid],
  };
}

describe('a load process against a router', () => {
  test('loads the keys and drives every kind of work', async () => {
    const { session } = await open();
    expect(await session.handle({ kind: 'preload', outstanding: 8 })).toEqual({ kind: 'preloaded' });
    for (const work of ['put', 'mix', 'stale', 'scan'] as const) {
      const reply = await session.handle(run(work));
      expect(reply).toMatchObject({ kind: 'result', result: { errors: 0, misses: 0 } });
      if (reply.kind === 'result') expect(reply.result.operations).toBeGreaterThan(0);
    }
  });

  test('answers with a sentence when rows are missing', async () => {
    const { session } = await open();
    expect(await session.handle(run('scan'))).toEqual({
      kind: 'failed',
      message: 'a scan of 40 rows returned 0',
    });
  });

  test('does not open where nobody listens', async () => {
    const endpoints = ['127.0.0.1:1'];
    const setup = { system: 'cairn', endpoints, keys: 1, valueBytes: 64 } as const;
    await expect(LoadSession.open(setup)).rejects.toThrow('127.0.0.1:1');
  });
});
