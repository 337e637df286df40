/**
 * Goal: the promises of the client's operations hold over real gRPC. Method: a client and in-memory routers
 * in one process, every fault asked for by name; nothing depends on how fast the machine is.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { failureOf } from '../test/expectations.js';
import { FakeCluster, FakeRouter, FakeStore } from '../test/index.js';
import { fieldOf } from './bytes.js';
import { connect, type CairnClient } from './client.js';
import { grpcConnector } from './grpc-connector.js';
import { json } from './codecs.js';
import { compareAndSetOperation, deleteOperation, getOperation, scanRequest } from './operations.js';

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

describe('point operations', () => {
  test('write, read and remove a key, and tell what was there', async () => {
    expect(await client.get('a')).toBeUndefined();
    const receipt = await client.put('a', 'one');
    const entry = await client.get('a');
    expect(entry?.text()).toBe('one');
    expect(entry?.version).toEqual(receipt.version);
    expect(receipt.timestamp).toBeGreaterThan(0);
    expect((await client.delete('a')).existed).toBe(true);
    expect((await client.delete('a')).existed).toBe(false);
    expect(await client.get('a')).toBeUndefined();
  });

  test('take and give back any bytes as keys and values', async () => {
    const key = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    await client.put(key, new Uint8Array([0, 255, 10]));
    expect((await client.get(new Uint8Array(key)))?.value).toEqual(Buffer.from([0, 255, 10]));
    await client.put('empty', '');
    expect((await client.get('empty'))?.value.length).toBe(0);
  });

  test('at a fresh timestamp see what came before it and nothing that comes after', async () => {
    await client.put('a', '1');
    const timestamp = await client.timestamp();
    await client.put('a', '2');
    const [entry] = await client.getMany(['a'], { consistency: { timestamp } });
    expect(entry?.text()).toBe('1');
  });

  test('at a timestamp read what was there then', async () => {
    const first = await client.put('a', '1');
    await client.put('a', '2');
    expect((await client.get('a', { consistency: { timestamp: first.timestamp } }))?.text()).toBe('1');
    expect((await client.get('a', { consistency: 'stale' }))?.text()).toBe('2');
  });

  test('compare by absence, value and version, and tell what is there when they fail', async () => {
    expect((await client.compareAndSet('a', { expectedAbsent: true, value: '1' })).succeeded).toBe(true);
    const failed = await client.compareAndSet('a', { expectedAbsent: true, value: '2' });
    expect(failed.succeeded).toBe(false);
    expect(failed.current?.text()).toBe('1');
    const second = await client.compareAndSet('a', { expectedValue: '1', value: '2' });
    expect(second).toMatchObject({ succeeded: true, current: undefined });
    const gone = await client.compareAndSet('a', { expectedVersion: second.version });
    expect(gone.succeeded).toBe(true);
    expect(await client.get('a')).toBeUndefined();
  });

  test('change when a key disappears, and say when there is none', async () => {
    expect(await client.expire('none', 1_000)).toMatchObject({ existed: false });
    await client.put('k', 'v');
    expect((await client.get('k'))?.expiresAtMs).toBeUndefined();
    const before = Date.now();
    expect(await client.expire('k', 60_000)).toMatchObject({ existed: true });
    const entry = await client.get('k');
    expect(entry?.text()).toBe('v');
    expect(entry?.expiresAtMs).toBeGreaterThanOrEqual(before + 60_000);
    expect(await client.persist('k')).toMatchObject({ existed: true });
    expect((await client.get('k'))?.expiresAtMs).toBeUndefined();
    expect((await failureOf(client.expire('k', 0))).code).toBe('INVALID_ARGUMENT');
    const outcomes = await client.writeMany([
      { expire: { key: 'k', ttlMs: 5_000 } },
      { persist: { key: 'none' } },
    ]);
    expect(outcomes).toMatchObject([
      { kind: 'expire', receipt: { existed: true } },
      { kind: 'persist', receipt: { existed: false } },
    ]);
  });

  test('count beyond 2^53 and refuse what is no integer', async () => {
    expect(await client.increment('n')).toBe(1n);
    expect(await client.increment('n', 2n ** 60n)).toBe(2n ** 60n + 1n);
    expect(await client.increment('n', -2)).toBe(2n ** 60n - 1n);
    await client.put('text', 'seven');
    expect((await failureOf(client.increment('text'))).code).toBe('FAILED_PRECONDITION');
  });

  test('remove exactly the span, and want one', async () => {
    await client.writeMany(['a1', 'a2', 'b1'].map((key) => ({ put: { key, value: 'x' } })));
    expect(await client.deleteRange({ prefix: 'a' })).toBe(2);
    expect(router.store.size).toBe(1);
    expect((await failureOf(client.deleteRange({}))).code).toBe('INVALID_ARGUMENT');
    expect(await client.deleteRange({ all: true })).toBe(1);
  });

  test('keep their order in getMany, and are answered one by one in writeMany', async () => {
    const outcomes = await client.writeMany([
      { put: { key: 'a', value: '1' } },
      { put: { key: '', value: '1' } },
      { compareAndSet: { key: 'a', expectedValue: 'no', value: '2' } },
      { increment: { key: 'a', delta: 4 } },
      { delete: { key: 'z' } },
    ]);
    expect(outcomes.map(({ kind }) => kind)).toEqual([
      'put',
      'error',
      'compareAndSet',
      'increment',
      'delete',
    ]);
    expect(outcomes[1]).toMatchObject({ error: { code: 'INVALID_ARGUMENT' } });
    expect(outcomes[2]).toMatchObject({ result: { succeeded: false } });
    expect(outcomes[3]).toMatchObject({ value: 5n });
    const entries = await client.getMany(['z', 'a']);
    expect(entries.map((entry) => entry?.text())).toEqual([undefined, '5']);
  });

  test('of one turn become one message, and of a large turn messages of at most 256 operations', async () => {
    await client.ready();
    await Promise.all(Array.from({ length: 10 }, (_, index) => client.put(`k${index}`, 'v')));
    expect(router.messages.length).toBe(1);
    await Promise.all(Array.from({ length: 600 }, (_, index) => client.get(`k${index}`)));
    expect(router.messages.slice(1).map(({ operations }) => operations.length)).toEqual([256, 256, 88]);
  });

  test('fill messages of 1 MiB; a larger one goes alone', async () => {
    await client.ready();
    const half = Buffer.alloc(500 * 1024);
    await Promise.all([0, 1, 2, 3, 4].map((index) => client.put(`k${index}`, half)));
    expect(router.messages.map(({ operations }) => operations.length)).toEqual([2, 2, 1]);
    await Promise.all([client.put('a', Buffer.alloc(1024 * 1024)), client.put('b', '')]);
    expect(router.messages.slice(3).map(({ operations }) => operations.length)).toEqual([1, 1]);
  });

  test('are answered in any order', async () => {
    await client.ready();
    router.holdAnswers();
    const puts = [client.put('a', '1'), client.put('b', '2')];
    const gets = new Promise((resolve) => setImmediate(resolve)).then(() =>
      Promise.all([client.get('a'), client.get('b')]),
    );
    while (router.operations.length < 4) await new Promise((resolve) => setImmediate(resolve));
    router.releaseAnswers();
    await Promise.all(puts);
    expect((await gets).map((entry) => entry?.text())).toEqual(['1', '2']);
  });
});

describe('what was stored before a limit was lowered', () => {
  test('is read, expected and deleted as ever: only what is written is held to the limits', () => {
    const key = 'k'.repeat(5_000);
    const narrow = { keyBytesMax: 4_096, valueBytesMax: 1_024 };
    expect(() => getOperation(key, {})).not.toThrow();
    expect(() => deleteOperation(key, {})).not.toThrow();
    expect(() => scanRequest({ start: key, end: `${key}z` })).not.toThrow();
    const expectedValue = Buffer.alloc(4_096);
    expect(() => compareAndSetOperation(narrow, 'k', { expectedValue, value: '1' })).not.toThrow();
    expect(() => compareAndSetOperation(narrow, 'k', { expectedValue, value: expectedValue })).toThrow(
      'value has 4096 bytes; the limit is 1024',
    );
  });
});

describe('bad input', () => {
  test.each([
    ['key', () => client.get('')],
    ['key', () => client.put('k'.repeat(4097), '')],
    ['value', () => client.put('k', Buffer.alloc(1024 * 1024 + 1))],
    ['key', () => client.get('k'.repeat(65_537))],
    ['ttlMs', () => client.put('k', '', { ttlMs: -1 })],
    ['timeoutMs', () => client.put('k', '', { timeoutMs: 0 })],
    ['expected', () => client.compareAndSet('k', { value: '' })],
    ['expected', () => client.compareAndSet('k', { value: '', expectedAbsent: true, expectedValue: '' })],
    ['delta', () => client.increment('k', 1.5)],
    ['delta', () => client.increment('k', 2n ** 63n)],
    ['timestamp', () => client.get('k', { consistency: { timestamp: 0.5 } })],
    ['prefix', () => client.deleteRange({ prefix: 'a', start: 'b' })],
    ['prefix', () => client.deleteRange({ prefix: new Uint8Array([0xff, 1]) })],
    ['span', () => client.deleteRange({ prefix: '' })],
    ['span', () => client.deleteRange({ start: '', end: new Uint8Array(0) })],
    ['span', () => client.deleteRange({})],
    ['span', () => client.deleteRange({ prefix: '', all: true })],
  ])('is refused with its field and nothing is sent: %s', async (field, call) => {
    await client.ready();
    const error = await failureOf(call());
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(fieldOf(error)).toBe(field);
    expect(router.messages.length).toBe(0);
  });

  test('is judged by the limits of the cluster once it has said them', async () => {
    const small = await FakeRouter.start({ store: new FakeStore({ keyBytesMax: 4, valueBytesMax: 8 }) });
    using narrow = connect({ endpoints: [small.endpoint] });
    expect(await narrow.ready()).toMatchObject({
      keyBytesMax: 4,
      valueBytesMax: 8,
      clusterId: 'fake-cluster',
    });
    expect((await failureOf(narrow.put('12345', ''))).message).toBe('key has 5 bytes; the limit is 4');
    expect((await failureOf(narrow.put('1', '123456789'))).message).toBe('value has 9 bytes; the limit is 8');
    small.kill();
  });

  test('is refused at connect when it is an endpoint', () => {
    expect(() => connect({ endpoints: [] })).toThrow('at least one router');
    for (const endpoint of ['http://x:1', 'x', 'x:', 'x:0', 'x:65536', 'x:99999', '::1:7100', 'a:1,b:1']) {
      expect(() => connect({ endpoints: [endpoint] })).toThrow('host:port');
    }
  });
});

describe('the calls of administration', () => {
  test('show status, nodes and ranges in pages, cut ranges and change settings', async () => {
    expect((await client.status()).serverVersion).toBe('0.1.0-fake');
    expect((await client.nodes()).length).toBe(7);
    const keys = Array.from({ length: 1500 }, (_, index) => `k${String(index).padStart(5, '0')}`);
    expect(await client.splitRanges(keys)).toBe(1500);
    expect((await client.ranges()).length).toBe(1501);
    expect((await client.ranges({ start: 'k00010', limit: 3 })).map(({ start }) => start.toString())).toEqual(
      ['k00010', 'k00011', 'k00012'],
    );
    expect((await client.engines()).map(({ engine }) => engine)).toEqual(['lsm', 'classic-level', '']);
    await client.compactEngine(2, { start: 'k', end: 'l' });
    const [second] = await client.engines({ storeId: 2 });
    expect(second).toMatchObject({ name: 'shard-2', compaction: { running: true } });
    expect((await failureOf(client.compactEngine(2))).code).toBe('FAILED_PRECONDITION');
    await client.putSetting('kv.key_bytes_max', '100');
    expect((await client.settings())[0]).toMatchObject({ value: '100', isDefault: false });
    await client.putSettings([
      { name: 'kv.key_bytes_max', value: '' },
      { name: 'kv.value_bytes_max', value: '7' },
    ]);
    expect((await client.settings()).map(({ value }) => value)).toEqual(['4096', '7', '0']);
  });

  test('hold old versions, and let them go', async () => {
    const { expiresUnixMs, ...hold } = await client.putHold('nightly', { ttlMs: 60_000, reason: 'backup' });
    const { timestamp } = router.cluster;
    expect(hold).toEqual({ name: 'nightly', timestamp, reason: 'backup', capped: false });
    expect(expiresUnixMs).toBeGreaterThan(60_000);
    expect((await client.putHold('audit', { ttlMs: 1, timestamp: 5 })).timestamp).toBe(5);
    const listed = await client.holds();
    expect(listed.holds.map(({ name }) => name)).toEqual(['nightly', 'audit']);
    expect([await client.deleteHold('audit'), await client.deleteHold('audit')]).toEqual([true, false]);
    expect(await failureOf(client.putHold('later', { ttlMs: 1, timestamp: timestamp + 1 }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'timestamp' },
    });
  });

  test('reject with the typed error of the router', async () => {
    const error = await failureOf(client.putSetting('nonsense', '1'));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: 'there is no setting nonsense' });
    expect(fieldOf(error)).toBe('name');
  });

  test('find one cluster behind two routers', async () => {
    const cluster = new FakeCluster();
    const second = await FakeRouter.start({ store: router.store, cluster });
    using both = connect({ endpoints: [second.endpoint, router.endpoint] });
    second.kill();
    expect((await both.nodes()).length).toBe(7);
  });
});

test('what a codec cannot do rejects the call with a code, and is never thrown', async () => {
  const loose = client.withCodec<string, unknown>({ value: json() });
  const circular: { self?: unknown } = {};
  circular.self = circular;
  for (const value of [undefined, 1n, circular, () => 1]) {
    await expect(loose.put('k', value)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('value cannot be encoded: '),
      details: { field: 'value' },
    });
  }
  const torn = '\ud800';
  const calls = [
    () => loose.put(torn, 1),
    () => loose.get(torn),
    () => loose.delete(torn),
    () => loose.increment(torn),
    () => loose.getMany([torn]),
    () => loose.compareAndSet(torn, { expectedAbsent: true, value: 1 }),
  ];
  for (const call of calls) {
    await expect(call()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'key' } });
  }
  await client.put('nojson', 'hello');
  const readings = [
    () => loose.get('nojson'),
    () => loose.getMany(['nojson']),
    () => loose.scan({ prefix: 'nojson' }).next(),
  ];
  for (const read of readings) {
    await expect(read()).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('a value that is stored cannot be decoded: '),
      cause: expect.any(SyntaxError),
    });
  }
});

test('a scan tells the kind of keys that hold no bytes; a typed view has no value for them', async () => {
  await client.put('list', 'x');
  router.store.kinds.set('list', 3);
  const rows = [];
  for await (const row of client.scan({ prefix: 'list' })) rows.push([row.kind, row.value.length]);
  expect(rows).toEqual([['list', 0]]);
  const typed = client.withCodec({ value: json() }).scan({ start: 'list', end: 'lisu' });
  await expect(typed.next()).rejects.toMatchObject({ code: 'WRONG_KIND', details: { kind: 'list' } });
});

test('a typed view encodes and decodes', async () => {
  const cities = client.withCodec({ value: json<{ name: string; people: number }>() });
  await cities.put('it/rome', { name: 'Rome', people: 2_800_000 });
  expect((await cities.get('it/rome'))?.value.people).toBe(2_800_000);
  const changed = await cities.compareAndSet('it/rome', {
    expectedValue: { name: 'Rome', people: 2_800_000 },
    value: { name: 'Roma', people: 2_800_000 },
  });
  expect(changed.succeeded).toBe(true);
  const rows = [];
  for await (const row of cities.scan({ start: 'it/', end: 'it0' })) rows.push(row);
  expect(rows).toMatchObject([{ key: 'it/rome', value: { name: 'Roma' } }]);
});

test('after close every call is refused and open ones end', async () => {
  await client.ready();
  router.verdict = () => 'swallow';
  const read = failureOf(client.get('a'));
  const write = failureOf(client.put('a', '1'));
  while (router.operations.length < 2) await new Promise((resolve) => setImmediate(resolve));
  client.close();
  expect((await read).code).toBe('CANCELLED');
  expect((await write).code).toBe('OUTCOME_UNKNOWN');
  expect((await failureOf(client.get('a'))).message).toBe('the client was closed');
  expect((await failureOf(client.status())).message).toBe('the client was closed');
});

test('closing ends a scan that nobody reads on: nothing holds its connection, or the process', async () => {
  const needs: boolean[] = [];
  const connector = grpcConnector();
  client.close();
  client = connect({
    endpoints: [router.endpoint],
    connector: { connect: connector.connect, keepAlive: (needed) => needs.push(needed) },
  });
  for (let at = 0; at < 200; at += 1) await client.put(`k${at}`, Buffer.alloc(10_000));
  const pages = client.pages({ pageBytes: 1 });
  expect((await pages.next()).done).toBe(false);
  expect(needs.at(-1)).toBe(false);
  client.close();
  const rest = await failureOf(
    (async () => {
      for await (const page of pages) expect(page.rows.length).toBeGreaterThan(0);
    })(),
  );
  expect(rest.code).toBe('CANCELLED');
});
