import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { deflateSync, gzipSync } from 'node:zlib';

import { createMetrics } from '@cairn/observability';
import { fromServiceError, KvOp } from '@cairn/wire';
import { ClusterClient } from '@cairn/wire/gen/cairn/v1/cluster.js';
import { KVClient, KVService, type ScanRequest } from '@cairn/wire/gen/cairn/v1/kv.js';
import {
  credentials,
  status,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ServiceError,
} from '@grpc/grpc-js';

import { DoorRig, eventually, type FakeMetadata, type RigOptions } from './door-rig.testing.js';
import { Unpacker } from './unpacker.js';

let rig: DoorRig;
const metrics = createMetrics({ processMetrics: false });
const start = async (options: RigOptions): Promise<void> => {
  await rig.close();
  rig = await DoorRig.start({}, options);
};

beforeEach(async () => {
  rig = await DoorRig.start();
});

afterEach(async () => {
  await rig.close();
});

const none = Buffer.alloc(0);
const everything: ScanRequest = {
  ...{ start: none, end: none, prefix: none, limit: 0, reverse: false, keysOnly: false },
  ...{ consistency: 0, timestamp: 0, pageBytes: 0 },
};

const errorOf = (call: ClientReadableStream<unknown>): Promise<ServiceError> =>
  once(call, 'error').then(([error]) => error as ServiceError);

describe('scans that nobody reads', () => {
  it('ask for two pages each, and hold nothing at the shard afterwards', async () => {
    rig.store.endlessScan = Buffer.alloc(200_000);
    // A client that never takes anything: the windows of HTTP/2 hold 64 KiB for it.
    const session = connectHttp2(`http://${rig.address}`);
    const call = session.request({
      ...{ ':path': KVService.scan.path, ':method': 'POST', 'content-type': 'application/grpc' },
    });
    call.on('error', () => undefined);
    const message = KVService.scan.requestSerialize(everything);
    call.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
    await eventually(() => rig.store.received.length >= 2);
    let before = -1;
    while (before !== rig.store.received.length) {
      before = rig.store.received.length;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(before).toBeLessThan(5);
    expect(rig.router.openOperations).toBe(0);
    session.destroy();
  });

  it('have a share of memory per connection, and others find room', async () => {
    rig.store.rows.set('a', Buffer.from('1'));
    rig.store.holdPrefix = '';
    const calls = Array.from({ length: 300 }, () => rig.client.scan(everything));
    const errors = calls.map(errorOf);
    // 100 MB of pages are to be had, 512 KiB for each scan.
    const refused = await Promise.race(errors);
    expect(refused.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(fromServiceError(refused)).toMatchObject({ code: 'RESOURCE_EXHAUSTED', retryAfterMs: 25 });
    const other = new KVClient(rig.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const scan = other.scan(everything);
    // Of those that run, no more than 64 are at the shard at a time.
    await eventually(() => rig.store.held.length === 64);
    rig.store.release();
    const ended = await Promise.race([once(scan, 'data').then(() => 'data'), errorOf(scan)]);
    expect(ended).toBe('data');
    for (const call of calls) call.cancel();
    scan.cancel();
    await Promise.all(errors);
    other.close();
  });
});

describe('unary calls', () => {
  it('have a share per connection: what one has too many of is refused, what others want is not', async () => {
    await start({ openOpsMax: 400 });
    rig.store.holdPrefix = 'slow';
    const get = (client: KVClient, key: string): Promise<ServiceError | null> =>
      new Promise((resolve) => {
        client.get({ key: Buffer.from(key), consistency: 0, timestamp: 0 }, resolve);
      });
    const held = Array.from({ length: 300 }, () => get(rig.client, 'slow'));
    await eventually(() => rig.store.held.length === 300);
    expect(fromServiceError((await get(rig.client, 'a')) as ServiceError)).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: 'this connection has its share of open operations',
    });
    const other = new KVClient(rig.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    expect(await get(other, 'a')).toBeNull();
    rig.store.release();
    expect(await Promise.all(held)).toEqual(Array(300).fill(null));
    expect(await get(rig.client, 'a')).toBeNull();
    other.close();
  });
});

describe('calls that steer the cluster', () => {
  it('are few at a time and not all of one connection', async () => {
    const waiting: (() => void)[] = [];
    await rig.close();
    rig = await DoorRig.start({
      status: () =>
        new Promise((resolve) => {
          waiting.push(() => {
            resolve({ nodes: [] } as never);
          });
        }),
      settings: () => Promise.resolve([]),
    });
    const greedy = new ClusterClient(rig.address, credentials.createInsecure());
    const ask = (): Promise<ServiceError | null> =>
      new Promise((resolve) => {
        greedy.status({}, resolve);
      });
    const asked = Array.from({ length: 20 }, ask);
    await eventually(() => waiting.length === 8);
    const other = new ClusterClient(rig.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const listed = await new Promise<ServiceError | null>((resolve) => {
      other.listSettings({}, resolve);
    });
    expect(listed).toBeNull();
    expect(waiting).toHaveLength(8);
    for (let answered = 0; answered < 20; answered += 1) {
      await eventually(() => waiting.length > 0);
      waiting.shift()?.();
    }
    expect(await Promise.all(asked)).toEqual(Array(20).fill(null));
    greedy.close();
    other.close();
  });

  it('keep their places while their work goes on, though nobody waits for it any more', async () => {
    const waiting: (() => void)[] = [];
    await rig.close();
    const own = createMetrics({ processMetrics: false });
    const metadata: FakeMetadata = {
      status: () =>
        new Promise((resolve) => {
          waiting.push(() => {
            resolve({ nodes: [] } as never);
          });
        }),
      settings: () => Promise.resolve([]),
    };
    rig = await DoorRig.start(metadata, { metrics: own });
    const client = new ClusterClient(rig.address, credentials.createInsecure());
    const other = new ClusterClient(rig.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const ask = (): { call: ClientUnaryCall; code: Promise<number | undefined> } => {
      let done: (code: number | undefined) => void = () => undefined;
      const code = new Promise<number | undefined>((resolve) => (done = resolve));
      const call = client.status({}, (error) => {
        done(error?.code);
      });
      return { call, code };
    };
    for (let round = 0; round < 3; round += 1) {
      const asked = Array.from({ length: 10 }, ask);
      await eventually(() => waiting.length >= 8);
      // Whatever was sent before is there by then.
      for (let trips = 0; trips < 3; trips += 1) {
        await new Promise((resolve) => other.listSettings({}, resolve));
      }
      for (const { call } of asked) call.cancel();
      const codes = await Promise.all(asked.map(({ code }) => code));
      expect(codes).toEqual(Array(10).fill(status.CANCELLED));
    }
    other.close();
    const inLine = async (): Promise<boolean> =>
      !(await own.render()).includes('\ncairn_router_waiting_cluster_calls 0\n');
    while (await inLine()) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(waiting).toHaveLength(8);
    for (const answer of waiting.splice(0)) answer();
    // The places are free again, and nobody who gave up in line has one.
    const asked = new Promise<ServiceError | null>((resolve) => {
      client.status({}, resolve);
    });
    await eventually(() => waiting.length === 1);
    waiting[0]?.();
    expect(await asked).toBeNull();
    client.close();
  });

  it('do not keep those away that only look', async () => {
    const waiting: (() => void)[] = [];
    await rig.close();
    rig = await DoorRig.start({
      putSettings: () =>
        new Promise((resolve) => {
          waiting.push(() => {
            resolve(undefined);
          });
        }),
      settings: () => Promise.resolve([]),
    });
    const clients = Array.from(
      { length: 5 },
      () =>
        new ClusterClient(rig.address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }),
    );
    const put = clients.flatMap((client) =>
      Array.from(
        { length: 8 },
        () =>
          new Promise<ServiceError | null>((resolve) => {
            client.putSetting({ name: 'a', value: 'b', more: [] }, resolve);
          }),
      ),
    );
    await eventually(() => waiting.length === 16);
    const listed = await new Promise<ServiceError | null>((resolve) => {
      clients[0]?.listSettings({}, resolve);
    });
    expect(listed).toBeNull();
    for (let answered = 0; answered < 40; answered += 1) {
      await eventually(() => waiting.length > 0);
      waiting.shift()?.();
    }
    expect(await Promise.all(put)).toEqual(Array(40).fill(null));
    for (const client of clients) client.close();
  });
});

describe('requests that are packed', () => {
  it('are unpacked few at a time, by turns of connections', async () => {
    const unpacker = new Unpacker(1_000, { clock: { nowMs: () => 0 }, metrics });
    const never = new AbortController().signal;
    const small = gzipSync(Buffer.from('small'));
    const large = gzipSync(Buffer.alloc(2_000));
    const all = await Promise.allSettled([
      ...Array.from({ length: 20 }, () => unpacker.unpack('greedy', large, 'gzip', never)),
      unpacker.unpack('modest', small, 'gzip', never),
      unpacker.unpack('modest', deflateSync(Buffer.from('other')), 'deflate', never),
      unpacker.unpack('modest', small, 'br', never),
      unpacker.unpack('modest', Buffer.from('nonsense'), 'gzip', never),
    ]);
    const said = all.map((each) =>
      each.status === 'fulfilled' ? each.value.toString() : (each.reason as { code: number }).code,
    );
    expect(new Set(said.slice(0, 20))).toEqual(new Set([status.RESOURCE_EXHAUSTED]));
    expect(said.slice(20)).toEqual(['small', 'other', status.UNIMPLEMENTED, status.INVALID_ARGUMENT]);
  });

  it('have one bound while they wait, of which every connection finds a little; what waits for long goes', async () => {
    let nowMs = 0;
    const packed = randomBytes(1_000);
    const unpacker = new Unpacker(10_000, { clock: { nowMs: () => nowMs }, metrics }, 10_000);
    const never = new AbortController().signal;
    const unpack = (peer: string): Promise<number | string> =>
      unpacker.unpack(peer, packed, 'gzip', never).then(
        () => 'unpacked',
        (error: { code: number; details: string }) => `${status[error.code] ?? ''}: ${error.details}`,
      );
    const greedy = Array.from({ length: 20 }, () => unpack('greedy'));
    const full =
      'RESOURCE_EXHAUSTED: packed requests: 5000 of 10000 bytes are taken, no room for 1000 bytes more';
    const others = ['b', 'c', 'd', 'e', 'f'].map((peer) => unpack(peer));
    nowMs = 1_500;
    const late = unpack('late');
    const nonsense = 'INVALID_ARGUMENT: the request cannot be unpacked';
    // Two are being unpacked, three wait until somebody needs their room.
    const ended = 'RESOURCE_EXHAUSTED: others need the room of packed requests that wait';
    expect(await Promise.all(greedy)).toEqual([
      ...Array<string>(2).fill(nonsense),
      ...Array<string>(3).fill(ended),
      ...Array<string>(15).fill(full),
    ]);
    expect(await Promise.all([...others, late])).toEqual(Array(6).fill(nonsense));
  });

  it('and are taken back while they wait end with a status', async () => {
    const unpacker = new Unpacker(1_000, { clock: { nowMs: () => 0 }, metrics });
    const over = new AbortController();
    const all = Array.from({ length: 3 }, () =>
      unpacker.unpack('peer', gzipSync(Buffer.from('small')), 'gzip', over.signal),
    );
    over.abort();
    const [first, , last] = await Promise.allSettled(all);
    expect(first?.status).toBe('fulfilled');
    expect(last).toMatchObject({ reason: { code: status.CANCELLED, details: 'the caller gave up' } });
  });
});

describe('connections', () => {
  const dial = async (): Promise<Socket> => {
    const [host, port] = rig.address.split(':');
    const socket = connect(Number(port), host);
    await once(socket, 'connect');
    socket.on('error', () => undefined);
    socket.resume();
    return socket;
  };

  it('that say nothing are closed', async () => {
    await start({ limits: { grpcHandshakeTimeoutMs: 30 }, metrics });
    const socket = await dial();
    await once(socket, 'close');
    expect(await metrics.render()).toContain(
      'cairn_router_refused_connections_total{reason="no-handshake"} 1',
    );
  });

  it('that speak something else are closed at once', async () => {
    const socket = await dial();
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await once(socket, 'close');
  });

  it('are no more than the limit', async () => {
    await start({ limits: { grpcConnectionsMax: 2 } });
    const first = await dial();
    const second = await dial();
    const third = await dial();
    await once(third, 'close');
    first.destroy();
    await once(first, 'close');
    second.destroy();
    await new Promise<void>((resolve, reject) => {
      rig.client.get({ key: Buffer.from('a'), consistency: 0, timestamp: 0 }, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  });

  it('without a call are closed after a while', async () => {
    await start({ limits: { grpcIdleTimeoutMs: 100 } });
    const socket = await dial();
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    // An empty SETTINGS frame.
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    await once(socket, 'close');
  });

  it('that give no sign of life are closed', async () => {
    await start({ limits: { grpcKeepaliveIntervalMs: 100, grpcKeepaliveTimeoutMs: 100 } });
    const socket = await dial();
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    await once(socket, 'close');
  });

  it('begin anywhere in a packet', async () => {
    const socket = await dial();
    for (const byte of Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')) {
      socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    const [settings] = (await once(socket, 'data')) as [Buffer];
    expect(settings[3]).toBe(4);
    socket.destroy();
  });
});

it('counts every call by method and status, and every operation by kind and code', async () => {
  await start({ metrics });
  const key = Buffer.from('a');
  const call = <T>(
    begin: (done: (error: ServiceError | null, response?: T) => void) => unknown,
  ): Promise<void> =>
    new Promise((resolve) => {
      begin(() => {
        resolve();
      });
    });
  const { client } = rig;
  await call((done) => client.batchGet({ keys: [key, key], consistency: 0, timestamp: 0 }, done));
  await call((done) => client.batchGet({ keys: [none], consistency: 0, timestamp: 0 }, done));
  await call((done) =>
    client.batchWrite(
      {
        operations: [{ operation: { $case: 'delete', value: { key, ordering: 0, requestId: undefined } } }],
        atomic: false,
      },
      done,
    ),
  );
  await call((done) => client.deleteRange({ start: none, end: none, prefix: key, all: false }, done));
  await call((done) => client.deleteRange({ start: none, end: none, prefix: none, all: false }, done));
  await call((done) => client.get({ key: none, consistency: 0, timestamp: 0 }, done));
  const text = await metrics.render();
  for (const line of [
    'cairn_router_calls_total{method="KV/BatchGet",code="OK"} 1',
    'cairn_router_calls_total{method="KV/BatchGet",code="INVALID_ARGUMENT"} 1',
    'cairn_router_calls_total{method="KV/BatchWrite",code="OK"} 1',
    'cairn_router_calls_total{method="KV/DeleteRange",code="OK"} 1',
    'cairn_router_calls_total{method="KV/DeleteRange",code="INVALID_ARGUMENT"} 1',
    'cairn_router_calls_total{method="KV/Get",code="INVALID_ARGUMENT"} 1',
    'cairn_router_requests_total{op="get",code="OK"} 2',
    'cairn_router_requests_total{op="get",code="INVALID_ARGUMENT"} 1',
    'cairn_router_requests_total{op="delete",code="OK"} 1',
    'cairn_router_requests_total{op="delete_range",code="OK"} 1',
    'cairn_router_requests_total{op="delete_range",code="INVALID_ARGUMENT"} 1',
  ])
    expect(text).toContain(line);
  expect(rig.store.received.filter(({ op }) => op === KvOp.get)).toHaveLength(2);
});
