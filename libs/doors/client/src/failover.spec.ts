/**
 * Goal: what happens when routers break, over real gRPC. Method: two routers over one store; streams, answers
 * and whole routers are taken away at exact moments (by verdicts on operations, never by waiting a while).
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { failureOf } from '../test/expectations.js';
import { FakeRouter, FakeStore } from '../test/index.js';
import { connect, type CairnClient } from './client.js';
import type { RequestId } from './wire-binding.js';

let store: FakeStore;
let first: FakeRouter;
let second: FakeRouter;
let client: CairnClient;
/** The router the client sits on, and the other one. */
let used: FakeRouter;
let spare: FakeRouter;

beforeEach(async () => {
  store = new FakeStore();
  first = await FakeRouter.start({ store });
  second = await FakeRouter.start({ store });
  client = connect({ endpoints: [first.endpoint, second.endpoint] });
  const { endpoint } = await client.ready();
  [used, spare] = endpoint === first.endpoint ? [first, second] : [second, first];
});

afterEach(() => {
  client.close();
  first.kill();
  second.kill();
});

/** The request ids of the writes a router has seen. */
function idsOf(router: FakeRouter): RequestId[] {
  return router.operations.flatMap(({ operation }) => {
    if (operation === undefined || operation.$case === 'cancel' || !('requestId' in operation.value))
      return [];
    return operation.value.requestId === undefined ? [] : [operation.value.requestId];
  });
}

describe('the death of a router', () => {
  test('lets the other one replay writes that were applied and not answered', async () => {
    used.verdict = () => {
      setImmediate(() => used.kill());
      return 'apply-silently';
    };
    const sums = await Promise.all([client.increment('n', 5), client.increment('n', 7)]);
    expect(sums).toEqual([5n, 12n]);
    expect(store.writesApplied).toBe(2);
    expect(store.writesReplayed).toBe(2);
    const [before, after] = [idsOf(used), idsOf(spare)];
    expect(before.map(({ retry }) => retry)).toEqual([false, false]);
    expect(after).toEqual(before.map((id) => ({ ...id, retry: true })));
    expect(before[0]?.stamp).toBeGreaterThan(0);
    expect(client.stats()).toMatchObject({ connectionsLost: 1, operationsResent: 2 });
  });

  test('sends reads and writes that never arrived to the other one', async () => {
    used.kill();
    await client.put('a', '1');
    expect((await client.get('a'))?.text()).toBe('1');
    expect(spare.operations.length).toBe(2);
  });

  test('is noticed by a broken stream on a living connection', async () => {
    used.verdict = () => {
      setImmediate(() => used.breakStreams());
      return 'swallow';
    };
    await client.put('a', '1');
    expect(store.writesApplied).toBe(1);
    expect(spare.operations.length).toBe(1);
  });

  test('makes a span deletion in flight OUTCOME_UNKNOWN, for it has no request id', async () => {
    used.verdict = () => {
      setImmediate(() => used.kill());
      return 'swallow';
    };
    const error = await failureOf(client.deleteRange({ prefix: 'a' }));
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retryClass: 'undetermined' });
    expect(spare.operations.length).toBe(0);
  });

  test('is no reason to send again what a router called OUTCOME_UNKNOWN', async () => {
    used.verdict = () => new CairnError('OUTCOME_UNKNOWN', 'the window has passed');
    const error = await failureOf(client.put('a', '1'));
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', message: 'the window has passed' });
    expect(used.operations.length).toBe(1);
  });

  test('is over when the only one comes back on its port', async () => {
    const lone = await FakeRouter.start();
    using alone = connect({ endpoints: [lone.endpoint] });
    await alone.put('a', '1');
    lone.kill();
    const pending = alone.get('a');
    await lone.start();
    expect((await pending)?.text()).toBe('1');
    lone.kill();
  });

  test('moves administrative calls as well', async () => {
    used.kill();
    expect((await client.nodes()).length).toBe(7);
  });
});

describe('a client whom nobody answers', () => {
  test('says at once whom it tried, in ready', async () => {
    first.kill();
    second.kill();
    using lost = connect({ endpoints: [first.endpoint, second.endpoint] });
    const error = await failureOf(lost.ready());
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.message).toContain(`${first.endpoint}, ${second.endpoint}`);
    expect(error.message).toContain('ECONNREFUSED');
  });

  test('lets a call wait until its deadline; it was certainly not applied', async () => {
    first.kill();
    second.kill();
    using lost = connect({ endpoints: [first.endpoint, second.endpoint] });
    const error = await failureOf(lost.put('a', '1', { timeoutMs: 60 }));
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.message).toContain('cannot reach a router');
  });

  test('gives up a port that accepts and says no hello', async () => {
    first.isMute = true;
    using stuck = connect({ endpoints: [first.endpoint], connectTimeoutMs: 30 });
    expect((await failureOf(stuck.ready())).message).toContain('no hello within 30 ms');
  });
});

describe('scans', () => {
  const count = 2000;

  beforeEach(async () => {
    for (let index = 0; index < count; index += 1) {
      const key = Buffer.from(`k${String(index).padStart(5, '0')}`);
      const requestId = undefined;
      store.apply({
        $case: 'put',
        value: { key, value: Buffer.alloc(50, index), ttlMs: 0, ordering: 0, requestId },
      });
    }
  });

  test.each([false, true])(
    'go on behind the last row at the same snapshot (reverse: %s)',
    async (reverse) => {
      used.breakScanAfterPages = 3;
      spare.breakScanAfterPages = 2;
      const seen: string[] = [];
      const timestamps = new Set<number>();
      for await (const page of client.pages({ prefix: 'k', reverse, pageBytes: 4096 })) {
        timestamps.add(page.timestamp);
        for (const row of page.rows) seen.push(row.keyText());
        // Writes behind the cursor and ahead of it must not show: the snapshot is older.
        await client.put(`k${String(seen.length).padStart(5, '0')}x`, 'new');
        if (seen.length < 1000) used.breakStreams();
      }
      const expected = Array.from({ length: count }, (_, index) => `k${String(index).padStart(5, '0')}`);
      expect(seen).toEqual(reverse ? expected.toReversed() : expected);
      expect(timestamps.size).toBe(1);
      expect(client.stats().scansResumed).toBeGreaterThanOrEqual(1);
      const resumed = [...used.scans, ...spare.scans].filter(({ timestamp }) => timestamp > 0);
      expect(resumed.length).toBeGreaterThanOrEqual(1);
    },
  );

  test('survive the death of their router', async () => {
    let rows = 0;
    for await (const row of client.scan({ pageBytes: 1024 })) {
      rows += 1;
      expect(row.value.length).toBe(50);
      if (rows === 100) used.kill();
    }
    expect(rows).toBe(count);
  });

  test('keep their limit across a break', async () => {
    used.breakScanAfterPages = 1;
    const rows = await client.scan({ limit: 150, pageBytes: 4096 }).toArray();
    expect(rows.length).toBe(150);
    expect(rows.at(-1)?.keyText()).toBe('k00149');
  });

  test('ask for pages only as they are taken', async () => {
    const big = Buffer.alloc(64 * 1024);
    const keys = Array.from({ length: 600 }, (_, index) => `big${index}`);
    const outcomes = await client.writeMany(
      keys.map((key) => ({ put: { key, value: big } })),
      { timeoutMs: 60_000 },
    );
    expect(outcomes.filter(({ kind }) => kind !== 'put')).toEqual([]);
    const pages = client.pages({ prefix: 'big', pageBytes: 128 * 1024 });
    await pages.next();
    let written = -1;
    // Until the server has stopped writing by itself: two looks in a row see the same number.
    while (written !== used.pagesWritten) {
      written = used.pagesWritten;
      for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(written).toBeLessThan(100);
    let rest = 2;
    for await (const page of pages) rest += page.rows.length;
    expect(rest).toBe(600);
  });

  test('end early when the consumer stops, and when the signal says so', async () => {
    for await (const row of client.scan({ pageBytes: 1024 })) {
      expect(row.keyText()).toBe('k00000');
      break;
    }
    const abort = new AbortController();
    const pages = client.pages({ pageBytes: 1024, signal: abort.signal });
    await pages.next();
    abort.abort();
    expect((await failureOf(pages.next())).code).toBe('CANCELLED');
  });

  test('read what their options say', async () => {
    const keysOf = async (options: Parameters<typeof client.scan>[0]): Promise<string[]> =>
      (await client.scan(options).toArray()).map((row) => row.keyText());
    expect(await keysOf({ start: 'k00003', end: 'k00005' })).toEqual(['k00003', 'k00004']);
    expect(await keysOf({ reverse: true, limit: 2 })).toEqual(['k01999', 'k01998']);
    expect(await keysOf({ start: 'b', end: 'a' })).toEqual([]);
    const rows = await client.scan({ limit: 1, keysOnly: true }).toArray();
    expect(rows[0]?.value.length).toBe(0);
  });
});
