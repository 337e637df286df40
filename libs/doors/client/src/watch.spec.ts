/**
 * Goal: a watch tells each change once, over the loss of routers, and says why it ends. Method: fake routers
 * on real gRPC for the ways of messages; scripted links on virtual time for what no router would do.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { FakeRouter, FakeStore } from '../test/index.js';
import { evenRng, ScriptedConnector, VirtualClock } from '../test/virtual.js';
import { connect, type CairnClient } from './client.js';
import type { Change } from './change.js';
import { json } from './codecs.js';
import { tokenTextOf } from './watch-options.js';
import type { Watch } from './watch.js';
import { WatchResetReason, type WatchChange, type WatchResponse } from './wire-binding.js';

async function take(watch: AsyncIterable<Change>, count: number): Promise<Change[]> {
  const taken: Change[] = [];
  for await (const change of watch) {
    taken.push(change);
    if (taken.length === count) return taken;
  }
  return taken;
}

const textsOf = (changes: readonly Change[]): string[] =>
  changes.map((change) => `${change.type} ${change.keyText()} ${change.text()}`);

describe('a watch', () => {
  let router: FakeRouter;
  let client: CairnClient;

  beforeEach(async () => {
    router = await FakeRouter.start();
    client = connect({ endpoints: [router.endpoint] });
  });

  afterEach(() => {
    client.close();
    router.kill();
  });

  test('tells what is put and deleted from its start on, with tokens to go on behind', async () => {
    await client.put('city/0', 'before');
    const watch = client.watch({ prefix: 'city/', withPrevious: true });
    expect(await watch.start()).toBeGreaterThan(0);
    await client.put('city/1', 'Bern', { ttlMs: 60_000 });
    await client.put('other', 'x');
    await client.put('city/1', 'Basel');
    await client.delete('city/1');
    const changes = await take(watch, 3);
    expect(textsOf(changes)).toEqual(['put city/1 Bern', 'put city/1 Basel', 'delete city/1 ']);
    expect(changes.map(({ previous }) => previous?.value.toString())).toEqual([undefined, 'Bern', 'Basel']);
    expect(changes[0]?.expiresAtMs).toBeGreaterThan(0);
    expect(changes[0]?.transaction).toBeUndefined();
    const rest = await take(client.watch({ prefix: 'city/', from: changes[0]?.token ?? '' }), 2);
    expect(textsOf(rest)).toEqual(['put city/1 Basel', 'delete city/1 ']);
  });

  test('is of one key, of a span, and begins at a timestamp', async () => {
    const { timestamp } = await client.put('a', '1');
    for (const key of ['a', 'b', 'c']) await client.put(key, '2');
    expect(textsOf(await take(client.watch({ key: 'b', from: timestamp }), 1))).toEqual(['put b 2']);
    expect(textsOf(await take(client.watch({ start: 'b', from: timestamp }), 2))).toEqual([
      ...['put b 2', 'put c 2'],
    ]);
    expect(textsOf(await take(client.watch({ from: -100, end: 'b' }), 2))).toEqual(['put a 1', 'put a 2']);
  });

  test('goes on by itself where it breaks, without a gap and without a repeat', async () => {
    router.store.watches.breakAfter = 2;
    const watch = client.watch({});
    await watch.start();
    for (let at = 0; at < 9; at += 1) await client.put('k', String(at));
    expect(textsOf(await take(watch, 9))).toEqual(Array.from({ length: 9 }, (_, at) => `put k ${at}`));
    expect(client.stats().watchesResumed).toBeGreaterThanOrEqual(4);
  });

  test('goes on at another router', async () => {
    const store = new FakeStore();
    const routers = [await FakeRouter.start({ store }), await FakeRouter.start({ store })];
    const other = connect({ endpoints: routers.map(({ endpoint }) => endpoint) });
    try {
      const watch = other.watch({});
      await watch.start();
      await other.put('k', '1');
      const changes = watch[Symbol.asyncIterator]();
      expect((await changes.next()).value?.text()).toBe('1');
      const { endpoint } = await other.ready();
      routers.find((each) => each.endpoint === endpoint)?.kill();
      await other.put('k', '2');
      expect((await changes.next()).value?.text()).toBe('2');
    } finally {
      other.close();
      for (const each of routers) each.kill();
    }
  });

  test('tells how far it is where nothing happens', async () => {
    const { timestamp } = await client.put('k', '1');
    const watch = client.watch({ prefix: 'none' });
    const waiting = take(watch, 1);
    while (watch.resolved < timestamp) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(watch.token).toBeDefined();
    watch.close();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  test('ends with WATCH_RESET where its history is gone', async () => {
    await client.put('k', '1');
    router.store.watches.oldest = 1;
    await expect(take(client.watch({ from: 5 }), 1)).rejects.toMatchObject({
      code: 'WATCH_RESET',
      retryClass: 'fatal',
      details: { oldest: 7 },
    });
  });

  test('ends by its signal, by the client, and when its loop is left', async () => {
    const abort = new AbortController();
    const watches = [client.watch({ signal: abort.signal }), client.watch({})];
    const ends = watches.map((watch) => take(watch, 1).catch((error: unknown) => (error as CairnError).code));
    abort.abort();
    expect(await ends[0]).toBe('CANCELLED');
    client.close();
    expect(await ends[1]).toBe('CANCELLED');
  });

  test('has types in a typed view', async () => {
    const view = client.withCodec({ value: json<{ n: number }>() });
    const watch = view.watch({ key: 'k', withPrevious: true });
    await watch.start();
    await view.put('k', { n: 1 });
    await view.put('k', { n: 2 });
    await view.delete('k');
    const told: unknown[] = [];
    for await (const change of watch) {
      told.push([change.type, change.type === 'put' ? change.value : undefined, change.previous]);
      if (told.length === 3) break;
    }
    expect(told).toEqual([
      ['put', { n: 1 }, undefined],
      ['put', { n: 2 }, { n: 1 }],
      ['delete', undefined, { n: 2 }],
    ]);
    expect(watch.token).toBeDefined();
    expect(watch.resolved).toBeGreaterThanOrEqual(0);
    watch.close();
  });

  test.each<[string, object, string]>([
    ['a key and a prefix', { key: 'k', prefix: 'p' }, 'key'],
    ['a prefix and an end', { prefix: 'p', end: 'e' }, 'prefix'],
    ['an empty key', { key: '' }, 'key'],
    ['a span of nothing', { start: 'b', end: 'a' }, 'end'],
    ['signs of life too often', { progressMs: 1 }, 'progressMs'],
    ['no patience', { outageMsMax: 0 }, 'outageMsMax'],
  ])('cannot be made with %s', (_what, options, field) => {
    let error: unknown;
    try {
      client.watch(options);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field } });
  });

  test.each([['no token!'], [''], [new Date('?')], [1.5], [0]])('cannot begin at %p', async (from) => {
    await expect(take(client.watch({ from }), 1)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'from' },
    });
  });
});

describe('a watch at a router that misbehaves', () => {
  let clock: VirtualClock;
  let connector: ScriptedConnector;
  let client: CairnClient;

  const started = (timestamp = 10): WatchResponse['event'] => ({
    $case: 'started',
    value: { timestamp, token: Buffer.from('t0') },
  });
  const changed = (...changes: Partial<WatchChange>[]): WatchResponse['event'] => ({
    $case: 'changes',
    value: {
      changes: changes.map((change) => ({
        ...{
          key: Buffer.from('k'),
          deleted: false,
          value: Buffer.from('v'),
          version: Buffer.alloc(12),
          kind: 0,
        },
        ...{ expiresUnixMs: 0, timestamp: 20, transaction: 0, previous: undefined, token: Buffer.from('t1') },
        ...change,
      })),
    },
  });

  beforeEach(() => {
    clock = new VirtualClock();
    connector = new ScriptedConnector();
    client = connect({ endpoints: ['a:1'], connector, clock, rng: evenRng });
  });

  afterEach(() => {
    client.close();
  });

  async function begin(
    scripts: (WatchResponse['event'] | CairnError)[][],
    options: Parameters<CairnClient['watch']>[0] = {},
  ): Promise<{ watch: Watch; told: string[]; outcome: Promise<string> }> {
    const watch = client.watch(options);
    const told: string[] = [];
    const outcome = (async () => {
      for await (const change of watch) told.push(change.text());
      return 'OK';
    })().catch((error: unknown) => (error as CairnError).code);
    await clock.advance(0);
    connector.link.watches = scripts;
    connector.link.hello();
    await clock.advance(10);
    return { watch, told, outcome };
  }

  test('leaves one that says nothing any more, and one that took too long to be read', async () => {
    const backlog = { reason: WatchResetReason.BACKLOG, oldest: 0 };
    const { told } = await begin(
      [
        [started(), changed({})],
        [{ $case: 'reset', value: backlog }],
        [changed({ value: Buffer.from('w') })],
      ],
      { progressMs: 1_000 },
    );
    expect(told).toEqual(['v']);
    await clock.advance(4_900);
    expect(connector.link.watched).toHaveLength(1);
    await clock.advance(3_000);
    expect(connector.link.watched.map(({ from }) => from?.value.toString())).toEqual([undefined, 't1', 't1']);
    expect(told).toEqual(['v', 'w']);
    expect(connector.link.cancelledWatches).toBe(2);
  });

  test('begins from now again until it has begun once', async () => {
    const refusal = new CairnError('RESOURCE_EXHAUSTED', 'full', { retryAfterMs: 100 });
    await begin([[refusal], [started()]]);
    await clock.advance(200);
    expect(connector.link.watched.map(({ from }) => from)).toEqual([undefined, undefined]);
  });

  test.each<[string, Partial<WatchChange>[]]>([
    ['of another key', [{ key: Buffer.from('x') }]],
    ['out of order', [{}, { timestamp: 19 }]],
  ])('does not believe in changes %s', async (_what, changes) => {
    const { outcome } = await begin([[started(), changed(...changes)]], { key: 'k' });
    expect(await outcome).toBe('INTERNAL');
  });

  test('does not believe in changes below what was said to be resolved', async () => {
    const progress = { $case: 'progress', value: { timestamp: 30, token: Buffer.from('t9') } } as const;
    const { outcome, watch } = await begin([[started(), progress, changed({})]], { start: 'a' });
    expect(await outcome).toBe('INTERNAL');
    expect(watch.token).toBe(tokenTextOf(Buffer.from('t9')));
  });

  test('gives up when no router is to be had for too long', async () => {
    const { outcome } = await begin([[started()]], { outageMsMax: 8_000 });
    connector.link.fail();
    await clock.advance(40_000);
    expect(await outcome).toBe('UNAVAILABLE');
  });
});
