import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { EventEmitter, once } from 'node:events';
import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { gzipSync } from 'node:zlib';

import { createMetrics } from '@cairn/observability';
import { fromServiceError } from '@cairn/wire';
import { ClusterService } from '@cairn/wire/gen/cairn/v1/cluster.js';
import { KVService, type ExecuteRequest } from '@cairn/wire/gen/cairn/v1/kv.js';
import { TxnService } from '@cairn/wire/gen/cairn/v1/txn.js';
import { WatchService } from '@cairn/wire/gen/cairn/v1/watch.js';
import { Metadata, status } from '@grpc/grpc-js';

import { HealthService } from './health-service.js';
import { DoorRig, eventually, getOf, putOf, StreamEnd } from './door-rig.testing.js';

let rig: DoorRig;
let session: ClientHttp2Session;
const metrics = createMetrics({ processMetrics: false });

beforeAll(async () => {
  const metadata = {
    settings: () => Promise.resolve([]),
    putSettings: () => Promise.resolve(),
    holds: () => Promise.resolve({ holds: [], safePoint: 1, timestamp: 2, pinnedBy: '' }),
    putHold: () => Promise.resolve({ name: 'a', timestamp: 1, expiresUnixMs: 2, reason: '', capped: false }),
    deleteHold: () => Promise.resolve({ deleted: false }),
    status: () => Promise.resolve({ nodes: [] } as never),
    routes: () => Promise.resolve({ routes: [], stores: [], incomplete: false }),
  };
  rig = await DoorRig.start(metadata, { metrics });
  rig.watches.isBrief = true;
  session = connect(`http://${rig.address}`);
});

afterAll(async () => {
  session.close();
  await rig.close();
});

interface Ended {
  readonly code: number;
  readonly detail: { readonly code: string; readonly message: string; readonly field: unknown } | undefined;
}

/** One call as bytes: no client library that would refuse to send it, or end it before the server does. */
function call(path: string, message: Buffer, headers: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const request = session.request({
      ':path': path,
      ':method': 'POST',
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    let last: IncomingHttpHeaders = {};
    const take = (received: IncomingHttpHeaders): void => {
      if (received['grpc-status'] !== undefined) last = received;
    };
    request.on('response', take);
    request.on('trailers', take);
    request.on('error', reject);
    request.on('close', () => {
      resolve(ended(last));
    });
    request.resume();
    const head = Buffer.alloc(5);
    head.writeUInt8(headers['grpc-encoding'] === undefined ? 0 : 1, 0);
    head.writeUInt32BE(message.length, 1);
    request.end(Buffer.concat([head, message]));
  });
}

function ended(trailers: IncomingHttpHeaders): Ended {
  const code = Number(trailers['grpc-status'] ?? -1);
  const packed = trailers['grpc-status-details-bin'];
  if (typeof packed !== 'string') return { code, detail: undefined };
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(packed, 'base64'));
  const { code: name, message, details } = fromServiceError({ code, details: '', metadata });
  return { code, detail: { code: name, message, field: details['field'] } };
}

/** A call that watches the health of a service. */
class Watcher extends EventEmitter {
  readonly request: { readonly service: string };
  readonly told: string[] = [];

  constructor(service: string) {
    super();
    this.request = { service };
  }

  write(answer: { readonly status: string }): void {
    this.told.push(answer.status);
  }
}

/** A field of bytes, up to 16,383 of them. */
const field = (tag: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([tag, (bytes.length & 127) | 128, bytes.length >> 7]), bytes]);
/** The same with up to 2^28 bytes. */
const longField = (tag: number, bytes: Uint8Array): Buffer => {
  const { length } = bytes;
  const groups = [length & 127, (length >> 7) & 127, (length >> 14) & 127].map((each) => each | 128);
  return Buffer.concat([Buffer.from([tag, ...groups, length >> 21]), bytes]);
};
/** Tag, then 2^60. */
const hugeInteger = (tag: number): Buffer => Buffer.from([tag, 128, 128, 128, 128, 128, 128, 128, 128, 16]);

describe('requests that are packed', () => {
  it('may be taken back while they wait to be unpacked: others are served', async () => {
    const other = connect(`http://${rig.address}`);
    const packed = gzipSync(Buffer.alloc(8_000_000));
    const head = Buffer.from([1, 0, 0, 0, 0]);
    head.writeUInt32BE(packed.length, 1);
    const headers = { ':method': 'POST', 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' };
    const open = Array.from({ length: 20 }, () => {
      const request = other.request({ ...headers, ':path': '/cairn.v1.KV/Get' });
      request.on('error', () => undefined);
      request.resume();
      request.end(Buffer.concat([head, packed]));
      return request;
    });
    const waiting = (): Promise<boolean> =>
      metrics.render().then((page) => /cairn_router_packed_requests 1?[1-9]/.test(page));
    while (!(await waiting())) await new Promise((resolve) => setImmediate(resolve));
    for (const request of open) request.close(constants.NGHTTP2_CANCEL);
    await Promise.all(open.map((request) => once(request, 'close')));
    while (await waiting()) await new Promise((resolve) => setImmediate(resolve));
    other.close();
    expect(await call('/cairn.v1.KV/Get', field(10, Buffer.from('a')))).toMatchObject({ code: status.OK });
  });
});

describe('a call that is refused for its headers', () => {
  it.each([
    ['too many', { 'content-type': 'application/grpc', 'x-long': 'y'.repeat(20_000) }, '8'],
    ['of another protocol', { 'content-type': 'text/plain' }, undefined],
  ])('(%s) ends with its stream, also when its client would send for ever', async (_what, more, code) => {
    const other = connect(`http://${rig.address}`);
    const request = other.request({ ':path': '/cairn.v1.KV/Get', ':method': 'POST', ...more });
    const seen: IncomingHttpHeaders = {};
    request.on('response', (headers) => Object.assign(seen, headers));
    request.on('error', () => undefined);
    request.resume();
    // Nothing is ended here.
    request.write(Buffer.alloc(1));
    await once(request, 'close');
    expect([seen[':status'], seen['grpc-status']]).toEqual([code === undefined ? 415 : 200, code]);
    other.close();
  });
});

describe('a deadline', () => {
  it.each(['597H', '35792M', '2147484S', '2592000S', '4294968S', '99999999H', '2147483S', '1H'])(
    'that is %s away is not over',
    async (timeout) => {
      const answer = call('/cairn.v1.KV/Get', field(10, Buffer.from('a')), { 'grpc-timeout': timeout });
      expect(await answer).toMatchObject({ code: status.OK });
    },
  );
});

describe('names of services and symbols', () => {
  it.each([
    ['/grpc.health.v1.Health/Check', 10],
    ['/grpc.health.v1.Health/Watch', 10],
    ['/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', 34],
  ])('are short: %s keeps and echoes no other', async (path, tag) => {
    expect(await call(path, field(tag, Buffer.alloc(10_000, 'x')))).toMatchObject({
      code: status.INVALID_ARGUMENT,
      detail: {
        code: 'INVALID_ARGUMENT',
        message: 'the request has 10003 bytes; the limit of this method is 4096',
      },
    });
  });

  it('that nobody serves are not found, and not kept when somebody watches them', async () => {
    const name = field(10, Buffer.from('nobody'));
    expect(await call('/grpc.health.v1.Health/Check', name)).toMatchObject({ code: status.NOT_FOUND });
    const health = new HealthService(['known']);
    const watch = (service: string): Watcher => {
      const watcher = new Watcher(service);
      (health.handlers['watch'] as unknown as (call: Watcher) => void)(watcher);
      return watcher;
    };
    const [known, unknown, left] = [watch('known'), watch('unknown'), watch('known')];
    left.emit('cancelled');
    health.setServing(true);
    expect(known.told).toEqual(['NOT_SERVING', 'SERVING']);
    expect(left.told).toEqual(['NOT_SERVING']);
    // Nothing of the call is held: no listener, no entry.
    expect([unknown.told, unknown.eventNames()]).toEqual([['SERVICE_UNKNOWN'], []]);
  });
});

describe('requests that would be expensive to decode', () => {
  it('are counted before: eight million keys of no bytes, a few kilobytes packed', async () => {
    const packed = gzipSync(Buffer.alloc(16_000_000, Buffer.from([10, 0])));
    expect(packed.length).toBeLessThan(20_000);
    expect(await call('/cairn.v1.KV/BatchGet', packed, { 'grpc-encoding': 'gzip' })).toEqual({
      code: status.INVALID_ARGUMENT,
      detail: {
        code: 'INVALID_ARGUMENT',
        message: 'keys has 10001 elements or more; the limit is 10000',
        field: 'keys',
      },
    });
  });

  it.each([
    ['/cairn.v1.KV/BatchWrite', Buffer.alloc(2_000_000, Buffer.from([10, 0])), 'operations'],
    ['/cairn.v1.KV/Batch', Buffer.alloc(2_000_000, Buffer.from([10, 0])), 'operations'],
    ['/cairn.v1.Txn/Get', Buffer.alloc(2_000_000, Buffer.from([18, 0])), 'keys'],
    ['/cairn.v1.Cluster/SplitRanges', Buffer.alloc(2_000_000, Buffer.from([10, 0])), 'keys'],
  ])('%s counts its elements', async (path, message, name) => {
    const { code, detail } = await call(path, message);
    expect(code).toBe(status.INVALID_ARGUMENT);
    expect(detail?.field).toBe(name);
    expect(detail?.message).toMatch(/the limit is 1?0?000/);
  });

  it.each([
    [
      'a key that is given a million times',
      '/cairn.v1.KV/Get',
      Buffer.alloc(2_000_000, Buffer.from([10, 0])),
    ],
    [
      'a watch of a key that is given a million times',
      '/cairn.v1.Watch/Watch',
      Buffer.alloc(2_000_000, Buffer.from([10, 0])),
    ],
    ['fields that nobody knows', '/cairn.v1.KV/Get', Buffer.alloc(2_000_000, Buffer.from([120, 1]))],
    [
      'a request id that is given a million times, inside a write',
      '/cairn.v1.KV/BatchWrite',
      Buffer.concat([
        Buffer.from([10, 0x8c, 0x89, 0x7a, 10, 0x88, 0x89, 0x7a, 42, 0x84, 0x89, 0x7a]),
        Buffer.alloc(2_000_004, Buffer.from([8, 1])),
      ]),
    ],
  ])('%s', async (_what, path, message) => {
    const { code, detail } = await call(path, message);
    expect({ code, message: detail?.message }).toEqual({
      code: status.INVALID_ARGUMENT,
      message: 'the message has too many fields',
    });
  });

  it('are not unpacked beyond what a message may have', async () => {
    const packed = gzipSync(Buffer.alloc(100_000_000));
    const { code, detail } = await call('/cairn.v1.KV/Put', packed, { 'grpc-encoding': 'gzip' });
    expect(code).toBe(status.RESOURCE_EXHAUSTED);
    // Ours, and not the library's, which unpacks any number at a time.
    expect(detail).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: 'the request unpacks to more than 16777216 bytes',
    });
  });
});

describe('requests that never come whole', () => {
  const ANNOUNCED = 16 * 1024 * 1024;
  const SENT = 15 * 1024 * 1024;

  /**
   * A call that announces much, sends nearly all of it and stops; resolves with its status, if it gets one.
   */
  function partial(connection: ClientHttp2Session): { status: Promise<number>; sent: Promise<void> } {
    const request = connection.request({
      ':path': '/cairn.v1.KV/Put',
      ':method': 'POST',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    request.on('error', () => undefined);
    request.resume();
    const answered = new Promise<number>((resolve) => {
      const take = (headers: IncomingHttpHeaders): void => {
        if (headers['grpc-status'] !== undefined) resolve(Number(headers['grpc-status']));
      };
      request.on('response', take);
      request.on('trailers', take);
    });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(ANNOUNCED, 1);
    request.write(head);
    const sent = new Promise<void>((resolve) => {
      request.write(Buffer.alloc(SENT), () => resolve());
    });
    return { status: answered, sent };
  }

  it('hold a bounded number of bytes, of which one connection has half at most', async () => {
    // The client library has a bound of its own, below what is sent here.
    const greedy = connect(`http://${rig.address}`, { maxSessionMemory: 1_000 });
    const held = async (): Promise<number> =>
      Number(/^cairn_router_partial_request_bytes (\d+)$/m.exec(await metrics.render())?.[1]);
    const until = async (isSo: (bytes: number) => boolean): Promise<void> => {
      while (!isSo(await held())) await new Promise((resolve) => setTimeout(resolve, 2));
    };
    const calls = Array.from({ length: 12 }, () => partial(greedy));
    const first = await Promise.race(calls.map((each) => each.status));
    expect(first).toBe(status.RESOURCE_EXHAUSTED);
    expect(await held()).toBeLessThanOrEqual(64 * 1024 * 1024);
    const other = connect(`http://${rig.address}`, { maxSessionMemory: 1_000 });
    const whole = partial(other);
    await whole.sent;
    await until((bytes) => bytes >= SENT);
    greedy.destroy();
    other.destroy();
    await until((bytes) => bytes === 0);
  });
});

describe('what grpc-js would answer without a detail', () => {
  it.each([
    ['an integer above 2^53', '/cairn.v1.KV/Get', hugeInteger(24), 'INVALID_ARGUMENT'],
    ['an integer above 2^53 deep inside', '/cairn.v1.KV/Put', field(42, hugeInteger(8)), 'INVALID_ARGUMENT'],
    ['a garbled message', '/cairn.v1.KV/Put', Buffer.from([10, 100, 1]), 'INVALID_ARGUMENT'],
    [
      'a garbled message to another service',
      '/cairn.v1.Cluster/ListRanges',
      Buffer.from([10, 9]),
      'INVALID_ARGUMENT',
    ],
    ['a garbled health check', '/grpc.health.v1.Health/Check', Buffer.from([15]), 'INVALID_ARGUMENT'],
  ])('%s', async (_what, path, message, code) => {
    const { detail } = await call(path, message);
    expect(detail).toMatchObject({ code });
  });

  it('an integer above 2^53 - 1, with the number of its field', async () => {
    const get = await call('/cairn.v1.KV/Get', hugeInteger(24));
    expect(get.detail?.message).toBe('an integer of the message (field 3) is above 2^53 - 1');
    const put = await call('/cairn.v1.KV/Put', field(42, hugeInteger(8)));
    expect(put.detail?.message).toBe('an integer of the message (field 5.1) is above 2^53 - 1');
  });

  it('a message that says it is packed and is not', async () => {
    const { code, detail } = await call('/cairn.v1.KV/Get', Buffer.from('nonsense'), {
      'grpc-encoding': 'gzip',
    });
    expect([code, detail?.code]).toEqual([status.INVALID_ARGUMENT, 'INVALID_ARGUMENT']);
  });

  it('headers that are too long', async () => {
    const message = KVService.get.requestSerialize({ key: Buffer.from('k'), consistency: 0, timestamp: 0 });
    const { code, detail } = await call('/cairn.v1.KV/Get', message, { 'x-much': 'y'.repeat(17_000) });
    expect([code, detail?.code]).toEqual([status.RESOURCE_EXHAUSTED, 'RESOURCE_EXHAUSTED']);
    expect(detail?.message).toContain('the limit is 16384');
    const fits = await call('/cairn.v1.KV/Get', message, { 'x-much': 'y'.repeat(15_000) });
    expect(fits.code).toBe(status.OK);
  });

  it('an unknown method', async () => {
    const { code, detail } = await call(`/cairn.v1.KV/Nonsense${'x'.repeat(5_000)}`, Buffer.alloc(0));
    expect(code).toBe(status.UNIMPLEMENTED);
    expect(detail).toBeDefined();
  });

  it('a deadline', async () => {
    rig.store.holdPrefix = 'slow';
    const message = KVService.get.requestSerialize({
      key: Buffer.from('slow'),
      consistency: 0,
      timestamp: 0,
    });
    const { code, detail } = await call('/cairn.v1.KV/Get', message, { 'grpc-timeout': '50m' });
    expect([code, detail?.code]).toEqual([status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED']);
    // The library does not know whether the write was sent anywhere.
    const put = KVService.put.requestSerialize({
      ...{ key: Buffer.from('slow'), value: Buffer.alloc(1), ttlMs: 0, ordering: 0, requestId: undefined },
    });
    const { detail: unclear } = await call('/cairn.v1.KV/Put', put, { 'grpc-timeout': '50m' });
    expect(unclear?.code).toBe('OUTCOME_UNKNOWN');
    rig.store.release();
  });

  it('a message that is too large', async () => {
    const head = Buffer.from([0, 0x7f, 0, 0, 0]);
    const { code, detail } = await new Promise<Ended>((resolve) => {
      const request = session.request({
        ':path': '/cairn.v1.KV/Put',
        ':method': 'POST',
        'content-type': 'application/grpc',
      });
      request.on('response', (headers) => {
        resolve(ended(headers));
        request.close(constants.NGHTTP2_CANCEL);
      });
      request.on('error', () => undefined);
      request.write(head);
    });
    expect([code, detail?.code]).toEqual([status.RESOURCE_EXHAUSTED, 'RESOURCE_EXHAUSTED']);
  });
});

describe('a batch stream', () => {
  it('answers an operation that it cannot read, and lives', async () => {
    const end = new StreamEnd(rig);
    const bad = (number: number, inside: Buffer): Buffer =>
      field(10, Buffer.concat([Buffer.from([8, number]), inside]));
    end.send({ call: 1, operation: putOf('a') });
    end.stream.write(
      Buffer.concat([
        bad(2, field(26, hugeInteger(24))),
        bad(3, Buffer.from([26, 100, 1])),
        bad(4, field(66, Buffer.from([10, 100]))),
        bad(5, Buffer.alloc(200, Buffer.from([114, 0]))),
        bad(6, field(58, Buffer.alloc(200, Buffer.from([10, 0])))),
      ]),
    );
    end.send({ call: 7, operation: getOf('a') });
    await end.until(() => end.results.length === 7);
    const results = new Map(end.results.map(({ call: number, result }) => [number, result]));
    for (const number of [2, 3, 4, 5, 6])
      expect(results.get(number)).toMatchObject({ $case: 'error', value: { code: 'INVALID_ARGUMENT' } });
    expect(results.get(2)).toMatchObject({
      value: { message: 'timestamp is above 2^53 - 1', field: 'timestamp' },
    });
    expect(results.get(7)).toMatchObject({ $case: 'get', value: { found: true } });
    expect(end.status).toBeUndefined();
    end.stream.cancel();
  });

  it('counts keys and operations of transactions before it makes anything of them', async () => {
    const end = new StreamEnd(rig);
    const asked = (number: number, tag: number, inside: Buffer): Buffer =>
      longField(10, Buffer.concat([Buffer.from([8, number]), longField(tag, inside)]));
    const many = (tag: number, count: number): Buffer => Buffer.alloc(2 * count, Buffer.from([tag, 0]));
    end.stream.write(
      Buffer.concat([
        asked(1, 90, many(10, 10_001)),
        asked(2, 106, many(26, 100_001)),
        asked(3, 106, Buffer.concat([many(34, 60_000), many(42, 40_001)])),
        asked(4, 114, Buffer.concat([many(10, 100), many(18, 20), many(26, 9)])),
        asked(5, 106, field(42, many(10, 100))),
        asked(6, 90, Buffer.from([10, 100, 1])),
        asked(7, 106, Buffer.from([42, 2, 10, 9])),
        asked(8, 98, many(10, 100)),
      ]),
    );
    // Each is within its bound, and together they are not.
    end.stream.write(
      Buffer.concat(Array.from({ length: 20 }, (_, at) => asked(20 + at, 90, many(10, 10_000)))),
    );
    await end.until(() => end.results.length === 28);
    const texts = new Map(
      end.results.map(({ call: number, result }) => [
        number,
        result?.$case === 'error' ? `${result.value.code} ${result.value.message}` : 'OK',
      ]),
    );
    expect(texts.get(1)).toBe('INVALID_ARGUMENT keys has 10001 elements or more; the limit is 10000');
    expect(texts.get(2)).toBe('INVALID_ARGUMENT reads has 100001 elements or more; the limit is 100000');
    expect(texts.get(3)).toBe('INVALID_ARGUMENT writes has 100001 elements or more; the limit is 100000');
    expect(texts.get(4)).toBe('INVALID_ARGUMENT otherwise has 129 elements or more; the limit is 128');
    for (const number of [5, 8])
      expect(texts.get(number)).toBe('INVALID_ARGUMENT the message has too many fields');
    for (const number of [6, 7])
      expect(texts.get(number)).toBe('INVALID_ARGUMENT the message is not well-formed protobuf');
    expect(texts.get(20)).toBe('INVALID_ARGUMENT at must be one of timestamp, fresh');
    expect(texts.get(39)).toContain('have more than 110000 keys');
    expect(end.status).toBeUndefined();
    end.stream.cancel();
  });

  it('ends with a sentence of ours when nobody can tell where operations begin', async () => {
    const { code, detail } = await call('/cairn.v1.KV/Batch', Buffer.from([10, 200, 1, 1]));
    expect(code).toBe(status.INVALID_ARGUMENT);
    expect(detail?.message).toBe('the message is not well-formed protobuf');
  });
});

/** Operations of transactions, whole. */
const TRANSACTIONAL = (() => {
  const key = Buffer.from('key');
  const put = { $case: 'put' as const, value: { key, value: key, ttlMs: 5 } };
  const execute = {
    conditions: [{ key, condition: { $case: 'valueEquals' as const, value: key } }],
    then: [{ operation: put }, { operation: { $case: 'increment' as const, value: { key, delta: '-5' } } }],
    otherwise: [{ operation: { $case: 'get' as const, value: { key } } }],
  };
  const commit = {
    ...{ start: 5, isolation: 1, reads: [key], spans: [{ start: key, end: key }] },
    writes: [{ write: put }, { write: { $case: 'delete' as const, value: { key } } }],
    ...{ reserved: [key], owner: 3 },
  };
  return [
    {
      $case: 'snapshotGet' as const,
      value: { keys: [key, key], at: { $case: 'fresh' as const, value: true } },
    },
    { $case: 'commit' as const, value: commit },
    { $case: 'execute' as const, value: execute },
    {
      $case: 'reserve' as const,
      value: { owner: 3, keys: [key, key], strength: 1, policy: 1, lockTimeoutMs: 5, start: 5 },
    },
    { $case: 'release' as const, value: { owner: 3 } },
  ];
})();

/** Real messages of every method, to be damaged. */
const GENUINE: readonly (readonly [string, Buffer])[] = (() => {
  const key = Buffer.from('key');
  const requestId = { client: 7, sequence: 1, stamp: 3, retry: false };
  const put = { key, value: key, ttlMs: 5, ordering: 1, requestId };
  const compareAndSet = { ...put, expected: { $case: 'expectedValue' as const, value: key } };
  const increment = { key, delta: '-5', ordering: 0, requestId };
  const span = { start: key, end: Buffer.from('z'), prefix: Buffer.alloc(0) };
  const write = { operations: [{ operation: { $case: 'put' as const, value: put } }], atomic: false };
  const batch = {
    operations: [
      { call: 1, timeoutMs: 9, operation: { $case: 'put' as const, value: put }, traceparent: 'x' },
      {
        call: 2,
        timeoutMs: 9,
        operation: { $case: 'compareAndSet' as const, value: compareAndSet },
        traceparent: '',
      },
      {
        call: 3,
        timeoutMs: 9,
        operation: { $case: 'increment' as const, value: increment },
        traceparent: '',
      },
      {
        call: 4,
        timeoutMs: 9,
        operation: { $case: 'deleteRange' as const, value: { ...span, all: false } },
        traceparent: '',
      },
      ...TRANSACTIONAL.map((operation, at) => ({ call: 5 + at, timeoutMs: 9, operation, traceparent: '' })),
    ],
  };
  const scan = {
    ...span,
    limit: 5,
    reverse: false,
    keysOnly: false,
    consistency: 1,
    timestamp: 0,
    pageBytes: 9,
  };
  return [
    ['/cairn.v1.KV/Get', KVService.get.requestSerialize({ key, consistency: 1, timestamp: 0 })],
    ['/cairn.v1.KV/Put', KVService.put.requestSerialize(put)],
    ['/cairn.v1.KV/Delete', KVService.delete.requestSerialize({ key, ordering: 2, requestId })],
    ['/cairn.v1.KV/DeleteRange', KVService.deleteRange.requestSerialize({ ...span, all: false })],
    ['/cairn.v1.KV/CompareAndSet', KVService.compareAndSet.requestSerialize(compareAndSet)],
    ['/cairn.v1.KV/Increment', KVService.increment.requestSerialize(increment)],
    [
      '/cairn.v1.KV/BatchGet',
      KVService.batchGet.requestSerialize({ keys: [key, key], consistency: 1, timestamp: 0 }),
    ],
    ['/cairn.v1.KV/BatchWrite', KVService.batchWrite.requestSerialize(write)],
    ['/cairn.v1.KV/Scan', KVService.scan.requestSerialize(scan)],
    ['/cairn.v1.KV/Batch', KVService.batch.requestSerialize(batch)],
    ['/cairn.v1.Txn/Begin', TxnService.begin.requestSerialize({ isolation: 2, readOnly: true, at: 9 })],
    ['/cairn.v1.Txn/Get', TxnService.get.requestSerialize({ transaction: 'x', keys: [key, key] })],
    [
      '/cairn.v1.Txn/Scan',
      TxnService.scan.requestSerialize({
        ...{ ...span, transaction: 'x', limit: 5, reverse: true, keysOnly: false, pageBytes: 9 },
      }),
    ],
    ['/cairn.v1.Txn/Put', TxnService.put.requestSerialize({ transaction: 'x', key, value: key, ttlMs: 5 })],
    [
      '/cairn.v1.Txn/Increment',
      TxnService.increment.requestSerialize({ transaction: 'x', key, delta: '-5' }),
    ],
    ['/cairn.v1.Txn/Savepoint', TxnService.savepoint.requestSerialize({ transaction: 'x', name: 'a' })],
    ['/cairn.v1.Txn/Commit', TxnService.commit.requestSerialize({ transaction: 'x' })],
    ['/cairn.v1.Txn/Execute', TxnService.execute.requestSerialize(executeOf(TRANSACTIONAL))],
    [
      '/cairn.v1.Watch/Watch',
      WatchService.watch.requestSerialize({
        ...{ key: Buffer.alloc(0), prefix: Buffer.alloc(0), start: key, end: key },
        ...{ from: { $case: 'token', value: key }, withPrevious: true, progressMs: 700 },
      }),
    ],
    ['/cairn.v1.Cluster/Status', Buffer.from([8, 1])],
    ['/cairn.v1.Cluster/ListNodes', Buffer.from([8, 1])],
    ['/cairn.v1.Cluster/ListRanges', ClusterService.listRanges.requestSerialize({ start: key, limit: 3 })],
    ['/cairn.v1.Cluster/SplitRanges', ClusterService.splitRanges.requestSerialize({ keys: [key, key] })],
    ['/cairn.v1.Cluster/ListSettings', Buffer.from([8, 1])],
    [
      '/cairn.v1.Cluster/PutSetting',
      ClusterService.putSetting.requestSerialize({
        ...{ name: 'a', value: 'b' },
        more: [{ name: 'c', value: 'd' }],
      }),
    ],
    ['/cairn.v1.Cluster/ListHolds', Buffer.from([8, 1])],
    [
      '/cairn.v1.Cluster/PutHold',
      ClusterService.putHold.requestSerialize({ name: 'a', timestamp: 300, ttlMs: 300, reason: 'b' }),
    ],
    ['/cairn.v1.Cluster/DeleteHold', ClusterService.deleteHold.requestSerialize({ name: 'a' })],
  ];
})();

function executeOf(operations: typeof TRANSACTIONAL): ExecuteRequest {
  const found = operations.find(({ $case }) => $case === 'execute');
  if (found?.$case !== 'execute') throw new Error('one of them is an execute');
  return found.value;
}

const TYPED: ReadonlySet<number> = new Set([
  status.NOT_FOUND,
  status.OK,
  status.INVALID_ARGUMENT,
  status.DEADLINE_EXCEEDED,
  status.UNAVAILABLE,
]);

describe('damaged messages', () => {
  it.each(GENUINE.map(([path, message]) => ({ path, message })))(
    '$path ends with a status that says what is wrong',
    async ({ path, message }) => {
      const damage = fc.array(
        fc.record({ at: fc.nat(message.length), drop: fc.nat(3), put: fc.uint8Array({ maxLength: 4 }) }),
        { minLength: 1, maxLength: 4 },
      );
      const damaged = (changes: { at: number; drop: number; put: Uint8Array }[]): Buffer => {
        let bytes = Buffer.from(message);
        for (const { at, drop, put } of changes)
          bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + drop)]);
        return bytes;
      };
      // Many at a time: timestamps that damage moves into the future are held for a second each.
      await fc.assert(
        fc.asyncProperty(fc.array(damage, { minLength: 50, maxLength: 50 }), async (all) => {
          const outcomes = await Promise.all(
            all.map((changes) => call(path, damaged(changes), { 'grpc-timeout': '5S' })),
          );
          for (const { code, detail } of outcomes) {
            expect(TYPED).toContain(code);
            if (code !== status.OK) expect(detail).toBeDefined();
          }
        }),
        { numRuns: 3, endOnFailure: true },
      );
      await eventually(() => rig.router.openOperations === 0);
    },
  );
});
