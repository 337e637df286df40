/**
 * Goal: what a router answers to anybody who speaks gRPC, also to those who speak it badly, and what all
 * processes tell of themselves: traces, metrics, health, logs. Method: one whole cluster with a trace
 * collector; a client made from the protocol files alone.
 */
import { createConnection } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { fieldOf } from '@cairn/client';
import { startOtlpCollector, type CollectedSpan, type OtlpCollector } from '@cairn/observability/testing';
import { RawClient, type Message, type RawStream } from '../src/raw-client.js';
import { eventually, startTestCluster, type TestCluster } from '../src/test-cluster.js';

const KV = 'cairn.v1.KV';
const KEY_BYTES_MAX = 4_096;
const VALUE_BYTES_MAX = 1_048_576;
/** Operations that the router under test takes at a time. */
const OPEN_MAX = 256;

let started: TestCluster | undefined;
let collector: OtlpCollector | undefined;
let raw: RawClient | undefined;

function use(): TestCluster {
  if (started === undefined) throw new Error('the cluster did not start');
  return started;
}

function client(): RawClient {
  raw ??= new RawClient(use().cluster.endpoints.routers[0] ?? '');
  return raw;
}

beforeAll(async () => {
  collector = await startOtlpCollector();
  started = await startTestCluster({
    metadata: 3,
    shards: 3,
    routers: 1,
    // Nothing is traced but what asks for it.
    flags: ['--otlp-endpoint', collector.endpoint, '--trace-sample-ratio', '0'],
    // Few enough to be reached by a test.
    flagsByKind: {
      router: ['--outstanding-ops-max', `${OPEN_MAX}`, '--outstanding-ops-per-store-max', `${OPEN_MAX}`],
    },
  });
}, 90_000);

afterAll(async () => {
  raw?.close();
  await started?.stop();
  await collector?.close();
}, 60_000);

/** Resolves when the other side has closed the connection; rejects when it did not within 15 s. */
function sendAndAwaitClose(address: string, bytes: Buffer): Promise<void> {
  const [host = '', port = ''] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port: Number(port) }, () => socket.write(bytes));
    // Resets are as good as an end.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.resume();
    socket.setTimeout(15_000, () => {
      reject(new Error(`${address} keeps a connection that sent nonsense`));
      socket.destroy();
    });
  });
}

/** The error that a call must end with. */
async function errorOf(call: Promise<unknown>): Promise<CairnError> {
  const outcome = await call.then(
    () => 'it succeeded',
    (error: unknown) => error,
  );
  if (!CairnError.is(outcome)) throw new Error(`an error of ours was expected, not: ${String(outcome)}`);
  return outcome;
}

const text = (value: string): Buffer => Buffer.from(value);

describe('bad requests', () => {
  const key = text('bad');
  const long = Buffer.alloc(KEY_BYTES_MAX + 1, 'k');
  /** Longer than any setting allows: what was stored under a wider limit stays readable. */
  const longest = Buffer.alloc(40_000, 'k');
  const large = Buffer.alloc(VALUE_BYTES_MAX + 1, 'v');
  const operation = (operations: Message[]): Message => ({ operations });

  /** Method, request, the field that is named, and what else the sentence must say. */
  const cases: readonly [string, string, Message, string, RegExp][] = [
    ['a put without a key', 'Put', { value: key }, 'key', /empty/],
    ['a put with an empty message', 'Put', {}, 'key', /empty/],
    ['a put with a long key', 'Put', { key: long }, 'key', /4097.*limit.*4096/],
    ['a put with a large value', 'Put', { key, value: large }, 'value', /1048577.*limit.*1048576/],
    ['a put with an unknown ordering', 'Put', { key, ordering: 9 }, 'ordering', /9/],
    ['a put with a time to live of centuries', 'Put', { key, ttl_ms: 2 ** 52 }, 'ttl_ms', /limit/],
    [
      'a put with half a request id',
      'Put',
      { key, request_id: { client: 7 } },
      'request_id.sequence',
      /2\^48/,
    ],
    ['a get without a key', 'Get', {}, 'key', /empty/],
    ['a get with a long key', 'Get', { key: longest }, 'key', /40000.*limit.*32768/],
    ['a get at no timestamp', 'Get', { key, consistency: 3 }, 'timestamp', /given/],
    ['a get of an unknown consistency', 'Get', { key, consistency: 7 }, 'consistency', /7/],
    ['a delete without a key', 'Delete', {}, 'key', /empty/],
    ['a compare-and-set that expects nothing', 'CompareAndSet', { key, value: key }, 'expected', /one of/],
    [
      'a compare-and-set with a large value',
      'CompareAndSet',
      { key, value: large, absent: true },
      'value',
      /1048577.*limit.*1048576/,
    ],
    [
      'a compare-and-set with half a version',
      'CompareAndSet',
      { key, expected_version: text('v1') },
      'expected_version',
      /12 bytes/,
    ],
    ['an increment without a key', 'Increment', { delta: 1 }, 'key', /empty/],
    [
      'a range deletion by prefix and bounds',
      'DeleteRange',
      { prefix: key, start: key },
      'prefix',
      /together/,
    ],
    [
      'a range deletion that ends before it starts',
      'DeleteRange',
      { start: text('b'), end: text('a') },
      'end',
      /before/,
    ],
    ['a batch read of an empty key', 'BatchGet', { keys: [key, text('')] }, 'key', /empty/],
    [
      'a batch of too many operations',
      'BatchWrite',
      operation(Array<Message>(10_001).fill({})),
      'operations',
      /10001.*10000/,
    ],
  ];

  const named = cases.map(([what, method, request, field, sentence]) => ({
    what,
    method,
    request,
    field,
    sentence,
  }));

  it.each(named)('$what is INVALID_ARGUMENT', async ({ method, request, field, sentence }) => {
    const error = await errorOf(client().unary(KV, method, request));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(fieldOf(error)).toBe(field);
    expect(error.message).toContain(field);
    expect(error.message).toMatch(sentence);
    // Nobody repeats it in vain.
    expect(error.retryClass).toBe('fatal');
    expect((error.cause as { code: number }).code).toBe(3);
  });

  it.each([
    ['by prefix and bounds', { prefix: key, end: key }, 'prefix', /together/],
    ['with a long bound', { start: Buffer.alloc(40_000, 'k') }, 'start', /40000.*limit/],
    ['backwards by mistake', { start: text('b'), end: text('a') }, 'end', /before/],
    ['with huge pages', { page_bytes: 2 ** 30 }, 'page_bytes', /limit/],
    ['at no timestamp', { consistency: 3 }, 'timestamp', /given/],
  ] as const)('a scan %s is INVALID_ARGUMENT', async (_, request, field, sentence) => {
    const error = await errorOf(client().serverStream(KV, 'Scan', request));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(fieldOf(error)).toBe(field);
    expect(error.message).toMatch(sentence);
  });

  it('are answered operation by operation in a batch of writes', async () => {
    const { results } = await client().unary(KV, 'BatchWrite', {
      operations: [
        { put: { key: text('batch/1'), value: text('one') } },
        { put: { key: text(''), value: text('two') } },
        {},
        { increment: { key: text('batch/1'), delta: 1 } },
        { put: { key: long, value: text('three') } },
        { delete: { key: text('batch/none') } },
      ],
    });
    expect(results).toMatchObject([
      { result: 'put' },
      { error: { code: 'INVALID_ARGUMENT', field: 'key' } },
      { error: { code: 'INVALID_ARGUMENT', field: 'operation' } },
      { error: { code: 'FAILED_PRECONDITION' } },
      { error: { code: 'INVALID_ARGUMENT', field: 'key', message: expect.stringContaining('4096') } },
      { delete: { existed: false } },
    ]);
  });

  it('do not get larger by being sent in one piece: a value of 8 MiB is INVALID_ARGUMENT, too', async () => {
    const error = await errorOf(client().unary(KV, 'Put', { key, value: Buffer.alloc(8 << 20) }));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(fieldOf(error)).toBe('value');
  });

  it('at the limits are taken', async () => {
    const edge = { key: Buffer.alloc(KEY_BYTES_MAX, 'k'), value: Buffer.alloc(VALUE_BYTES_MAX, 'v') };
    await client().unary(KV, 'Put', edge);
    const { found, value } = await client().unary(KV, 'Get', { key: edge.key });
    expect(found).toBe(true);
    expect(edge.value.equals(value as Buffer)).toBe(true);
    await client().unary(KV, 'Put', { key: text('empty'), value: text('') });
    expect(await client().unary(KV, 'Get', { key: text('empty') })).toMatchObject({ found: true });
  });
});

describe('a garbled message on a batch stream', () => {
  const put = (call: number, key: string): Message => ({
    operations: [{ call, put: { key: text(key), value: text(key) } }],
  });
  const answered = (stream: RawStream, call: number): Promise<Message> =>
    eventually(`call ${call} is answered`, () =>
      stream.messages
        .flatMap((message) => message['results'] as Message[])
        .find((result) => result['call'] === call),
    );

  it('ends that stream and nothing else', async () => {
    const good = client().duplex(KV, 'Batch');
    const bad = client().duplex(KV, 'Batch');
    good.send(put(1, 'stream/1'));
    bad.send(put(1, 'stream/2'));
    expect(await answered(good, 1)).toMatchObject({ result: 'put' });
    expect(await answered(bad, 1)).toMatchObject({ result: 'put' });
    expect(bad.messages[0]).toMatchObject({
      hello: { key_bytes_max: KEY_BYTES_MAX, value_bytes_max: VALUE_BYTES_MAX },
    });

    // Field 1 as a message of 100 bytes, of which there are three.
    bad.send(Buffer.from([0x0a, 0x64, 0xff, 0xff, 0xff]));
    await eventually('the garbled stream ends', () => (bad.isOver ? true : undefined));
    expect(bad.error).toBeDefined();

    good.send(put(2, 'stream/3'));
    expect(await answered(good, 2)).toMatchObject({ result: 'put' });
    expect(await client().unary(KV, 'Get', { key: text('stream/2') })).toMatchObject({ found: true });
    good.end();
    await eventually('the other stream ends well', () => (good.isOver ? true : undefined));
    expect(good.error).toBeUndefined();
  });

  it('of wrong content is answered and ends nothing', async () => {
    const stream = client().duplex(KV, 'Batch');
    stream.send({
      operations: [{ call: 1 }, { call: 2, get: {} }, { call: 3, get: { key: text('stream/1') } }],
    });
    expect(await answered(stream, 1)).toMatchObject({
      error: { code: 'INVALID_ARGUMENT', field: 'operation' },
    });
    expect(await answered(stream, 2)).toMatchObject({ error: { code: 'INVALID_ARGUMENT', field: 'key' } });
    expect(await answered(stream, 3)).toMatchObject({ get: { found: true } });
    stream.end();
    await eventually('the stream ends well', () => (stream.isOver ? true : undefined));
    expect(stream.error).toBeUndefined();
  });
});

describe('a traced write', () => {
  const spanNamed = (traceId: string, name: string): Promise<CollectedSpan> =>
    eventually(`the collector has ${name}`, () =>
      collector?.spans.find((span) => span.traceId === traceId && span.name === name),
    );

  async function checkTrace(traceId: string, callerSpanId: string): Promise<void> {
    const router = await spanNamed(traceId, 'router.request');
    const shard = await spanNamed(traceId, 'shard.request');
    const commit = await spanNamed(traceId, 'raft.commit');
    expect(router).toMatchObject({
      service: 'cairn-router',
      instance: 'router-1',
      parentSpanId: callerSpanId,
    });
    expect(shard).toMatchObject({ service: 'cairn-shard', parentSpanId: router.spanId });
    expect(commit).toMatchObject({
      service: 'cairn-shard',
      parentSpanId: shard.spanId,
      instance: shard.instance,
    });
    expect(shard.attributes['cairn.range']).toBeGreaterThan(0);
    expect(commit.attributes['cairn.index']).toBeGreaterThan(0);
    expect([router.statusCode, shard.statusCode, commit.statusCode]).not.toContain(2);
    expect(collector?.spans.filter((span) => span.traceId === traceId)).toHaveLength(3);
  }

  it('is followed from the router to the commit, by a header', async () => {
    const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
    const headers = { traceparent: `00-${traceId}-${spanId}-01` };
    await client().unary(KV, 'Put', { key: text('traced/1'), value: text('x') }, { headers });
    await checkTrace(traceId, spanId);
  }, 20_000);

  it('is followed from the router to the commit, by operation of a stream', async () => {
    const [traceId, spanId] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
    const traceparent = `00-${traceId}-${spanId}-01`;
    const stream = client().duplex(KV, 'Batch');
    const put = { key: text('traced/2'), value: text('x') };
    stream.send({
      operations: [
        { call: 1, put, traceparent },
        { call: 2, put },
      ],
    });
    await checkTrace(traceId, spanId);
    stream.end();
  }, 20_000);

  it('is not traced when nobody asked for it', async () => {
    const before = collector?.spans.length;
    await client().unary(KV, 'Put', { key: text('traced/3'), value: text('x') });
    const headers = { traceparent: '00-1af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00' };
    await client().unary(KV, 'Put', { key: text('traced/3'), value: text('x') }, { headers });
    // A later trace that has arrived proves that earlier ones would have.
    const [traceId, spanId] = ['2af7651916cd43dd8448eb211c80319e', 'b7ad6b7169203332'];
    const sampled = { traceparent: `00-${traceId}-${spanId}-01` };
    await client().unary(KV, 'Put', { key: text('traced/3'), value: text('x') }, { headers: sampled });
    await checkTrace(traceId, spanId);
    expect(collector?.spans.length).toBe((before ?? 0) + 3);
  }, 20_000);
});

describe('every process', () => {
  const get = async (
    address: string,
    path: string,
  ): Promise<{ status: number; type: string; body: string }> => {
    const response = await fetch(`http://${address}${path}`);
    return {
      status: response.status,
      type: response.headers.get('content-type') ?? '',
      body: await response.text(),
    };
  };

  it('is alive and ready', async () => {
    for (const address of Object.values(use().cluster.endpoints.http)) {
      expect(await get(address, '/healthz')).toMatchObject({ status: 200 });
      const ready = await get(address, '/readyz');
      expect(ready.status).toBe(200);
      expect(JSON.parse(ready.body)).toEqual({ ready: true, reasons: [] });
      expect(await get(address, '/elsewhere')).toMatchObject({ status: 404 });
    }
  });

  it('answers a scraper', async () => {
    await client().unary(KV, 'Put', { key: text('measured'), value: text('x') });
    const wanted: Readonly<Record<string, readonly string[]>> = {
      metadata: ['cairn_raft_log_syncs_total', 'process_resident_memory_bytes'],
      shard: [
        'cairn_shard_replicas',
        'cairn_shard_leaders',
        'cairn_raft_log_syncs_total',
        'process_cpu_seconds_total',
      ],
      router: [
        'cairn_router_requests_total',
        'cairn_router_request_seconds_bucket',
        'nodejs_eventloop_lag_seconds',
      ],
    };
    for (const { name, kind, httpAddress } of use().cluster.nodes) {
      const { status, type, body } = await get(httpAddress, '/metrics');
      expect({ name, status, type }).toEqual({
        name,
        status: 200,
        type: expect.stringContaining('text/plain'),
      });
      const names = new Set(body.split('\n').map((line) => line.split(/[{ ]/)[0]));
      expect({ name, missing: wanted[kind]?.filter((metric) => !names.has(metric)) }).toEqual({
        name,
        missing: [],
      });
      // Every sample line is `name{labels} number`.
      const samples = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      for (const line of samples)
        expect(line).toMatch(/^[a-z_]+[a-z0-9_]*(\{.*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$/i);
    }
    const router = await get(use().cluster.endpoints.http['router-1'] ?? '', '/metrics');
    const puts = router.body
      .split('\n')
      .filter((line) => line.startsWith('cairn_router_requests_total{'))
      .filter((line) => line.includes('op="put"') && line.includes('code="OK"'));
    expect(puts).toHaveLength(1);
    expect(Number(puts[0]?.split(' ')[1])).toBeGreaterThan(0);
  });

  it('logs JSON lines that name themselves, and ranges with their terms', () => {
    for (const { name, kind } of use().cluster.nodes) {
      const lines = use().logLines(name);
      expect(lines.length).toBeGreaterThan(0);
      for (const line of lines) {
        const parsed = JSON.parse(line) as Message;
        expect(parsed).toMatchObject({
          time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
          level: expect.stringMatching(/^(debug|info|warn|error)$/),
          event: expect.any(String),
          service: `cairn-${kind}`,
          node: name,
        });
        // A name that occurs twice would hide the first one from most readers.
        expect(JSON.stringify(parsed).length).toBe(line.length);
      }
    }
    for (const kind of ['metadata', 'shard'] as const) {
      const lines = use()
        .cluster.nodes.filter((node) => node.kind === kind)
        .flatMap(({ name }) => use().logLines(name));
      const leadership = lines
        .map((line) => JSON.parse(line) as Message)
        .filter((line) => line['range'] !== undefined);
      expect(leadership).toContainEqual(
        expect.objectContaining({ range: expect.any(Number), term: expect.any(Number), isLeader: true }),
      );
    }
  });

  it('logs nothing above info when nothing is wrong', () => {
    const loud = use()
      .cluster.nodes.flatMap(({ name }) => use().logLines(name))
      .filter((line) => /"level":"(warn|error)"/.test(line))
      // Tells of the machine, not of us: others may work on it while this runs.
      .filter((line) => !line.includes('"event":"process was paused, leases dropped"'));
    expect(loud).toEqual([]);
  });
});

describe('the router', () => {
  it.each(['', 'cairn.v1.KV', 'cairn.v1.Cluster'])('answers the health check of "%s"', async (service) => {
    const answer = await client().unary('grpc.health.v1.Health', 'Check', { service });
    expect(answer).toMatchObject({ status: 'SERVING' });
  });

  it('tells by reflection what it serves', async () => {
    const stream = client().duplex('grpc.reflection.v1.ServerReflection', 'ServerReflectionInfo');
    stream.send({ list_services: '' });
    stream.send({ file_containing_symbol: 'cairn.v1.KV' });
    await eventually('both questions are answered', () => (stream.messages.length >= 2 ? true : undefined));
    const [list, file] = stream.messages;
    const services = (list?.['list_services_response'] as { service: { name: string }[] }).service;
    expect(services.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['cairn.v1.KV', 'cairn.v1.Cluster']),
    );
    const descriptors = (file?.['file_descriptor_response'] as { file_descriptor_proto: Buffer[] })
      .file_descriptor_proto;
    expect(descriptors.some((bytes) => bytes.includes('CompareAndSetRequest'))).toBe(true);
    stream.end();
  });

  it('says what the cluster consists of', async () => {
    const status = await eventually('all processes are known', async () => {
      const answer = await client().unary('cairn.v1.Cluster', 'Status', {});
      return (answer['nodes'] as Message[]).length === 7 ? answer : undefined;
    });
    expect(status).toMatchObject({ ranges: 1, ranges_without_leader: 0, ranges_under_replicated: 0 });
    const names = (status['nodes'] as { name: string }[]).map(({ name }) => name);
    expect(names.sort()).toEqual(
      use()
        .cluster.nodes.map(({ name }) => name)
        .sort(),
    );
  });
});

describe('bytes that are no frames', () => {
  const nonsense: readonly (readonly [string, Buffer])[] = [
    ['an HTTP request', text('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')],
    ['zeros', Buffer.alloc(4_096)],
    ['a frame that would be 4 GiB long', Buffer.alloc(64, 0xff)],
    ['noise', Buffer.from(Array.from({ length: 4_096 }, (_, at) => (at * at * 31 + at * 7) % 251))],
  ];

  it.each(nonsense)(
    '(%s) close a connection and harm nobody',
    async (_, bytes) => {
      const { nodes } = use().cluster;
      const idsBefore = nodes.map(({ name }) => use().cluster.processId(name));
      await Promise.all(nodes.map(({ address }) => sendAndAwaitClose(address, bytes)));
      expect(nodes.map(({ name }) => use().cluster.processId(name))).toEqual(idsBefore);
      await client().unary(KV, 'Put', { key: text('after/nonsense'), value: bytes });
      const { value } = await client().unary(KV, 'Get', { key: text('after/nonsense') });
      expect(bytes.equals(value as Buffer)).toBe(true);
    },
    30_000,
  );
});

describe('too much at once', () => {
  const many = (from: number, count: number, rest: (call: number) => Message): Message => ({
    operations: Array.from({ length: count }, (_, at) => ({ call: from + at, ...rest(from + at) })),
  });
  const resultsOf = (stream: RawStream, count: number): Promise<Message[]> =>
    eventually(`${count} operations are answered`, () => {
      const results = stream.messages.flatMap((message) => message['results'] as Message[]);
      return results.length >= count ? results : undefined;
    });
  const codeOf = (result: Message): string =>
    result['result'] === 'error' ? (result['error'] as { code: string }).code : 'OK';
  const read = { get: { key: text('after/nonsense') } };

  async function withPausedShards(work: () => Promise<void>): Promise<void> {
    const names = use()
      .cluster.nodes.filter(({ kind }) => kind === 'shard')
      .map(({ name }) => name);
    await Promise.all(names.map((name) => use().cluster.kill(name, 'SIGSTOP')));
    try {
      await work();
    } finally {
      await Promise.all(names.map((name) => use().cluster.kill(name, 'SIGCONT')));
    }
  }

  it('is refused early, with the time after which to come back', async () => {
    const stream = client().duplex(KV, 'Batch');
    const count = OPEN_MAX * 8;
    stream.send(many(1, count, (call) => ({ put: { key: text(`many/${call}`), value: text('x') } })));
    const results = await resultsOf(stream, count);
    const codes = new Set(results.map(codeOf));
    expect([...codes].sort()).toEqual(['OK', 'RESOURCE_EXHAUSTED']);
    for (const result of results.filter((each) => codeOf(each) !== 'OK')) {
      const error = result['error'] as Message;
      expect(error).toMatchObject({ retry_class: 'RETRY_CLASS_BACK_OFF' });
      expect(error['retry_after_ms']).toBeGreaterThan(0);
    }
    // What was refused did not happen, what was accepted did.
    const found = await client().serverStream(KV, 'Scan', { prefix: text('many/') });
    const keys = found.flatMap((page) =>
      (page['rows'] as { key: Buffer }[]).map((row) => row.key.toString()),
    );
    const accepted = results
      .filter((each) => codeOf(each) === 'OK')
      .map((each) => `many/${String(each['call'])}`);
    expect(keys).toEqual(accepted.sort());
    stream.end();
  }, 20_000);

  it('frees what it held when deadlines pass', async () => {
    const stream = client().duplex(KV, 'Batch');
    await withPausedShards(async () => {
      stream.send(many(1, OPEN_MAX - 1, () => ({ ...read, timeout_ms: 300 })));
      const put = { put: { key: text('late'), value: text('x') }, timeout_ms: 300 };
      stream.send(many(OPEN_MAX, 1, () => put));
      const results = await resultsOf(stream, OPEN_MAX);
      const write = results.find((result) => result['call'] === OPEN_MAX);
      expect(codeOf(write ?? {})).toBe('OUTCOME_UNKNOWN');
      expect(new Set(results.filter((each) => each !== write).map(codeOf))).toEqual(
        new Set(['DEADLINE_EXCEEDED']),
      );
    });
    stream.send(many(1_000, OPEN_MAX, () => read));
    const later = (await resultsOf(stream, OPEN_MAX * 2)).slice(OPEN_MAX);
    expect(new Set(later.map(codeOf))).toEqual(new Set(['OK']));
    stream.end();
  }, 20_000);

  it('frees what it held when it is cancelled', async () => {
    const stream = client().duplex(KV, 'Batch');
    const other = client().duplex(KV, 'Batch');
    await withPausedShards(async () => {
      stream.send(many(1, OPEN_MAX, () => read));
      other.send(many(1, 1, () => read));
      expect((await resultsOf(other, 1)).map(codeOf)).toEqual(['RESOURCE_EXHAUSTED']);
      stream.send(many(1, OPEN_MAX, () => ({ cancel: true })));
      await delay(100);
      other.send(many(2, OPEN_MAX, () => read));
    });
    const results = (await resultsOf(other, OPEN_MAX + 1)).slice(1);
    expect(new Set(results.map(codeOf))).toEqual(new Set(['OK']));
    // Nothing follows on what was cancelled in time.
    expect(stream.messages.flatMap((message) => message['results'] as Message[])).toEqual([]);
    stream.end();
    other.end();
  }, 20_000);
});
