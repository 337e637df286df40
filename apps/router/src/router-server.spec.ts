import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { fromServiceError, ReadConsistency } from '@cairn/wire';
import type {
  BatchGetResponse,
  BatchWriteResponse,
  PutResponse,
  ScanResponse,
  WriteOperation,
} from '@cairn/wire/gen/cairn/v1/kv.js';
import {
  ClusterClient,
  type ListHoldsResponse,
  type ListSettingsResponse,
} from '@cairn/wire/gen/cairn/v1/cluster.js';
import { credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';

import { noopLogger, noopMetrics } from '@cairn/ports';
import { NodeClock } from '@cairn/runtime-node';
import { createTxnService, createWatchService, type ClusterHandlers } from '@cairn/router-node';
import { DoorRig, eventually } from './door-rig.testing.js';
import { startRouterServer, type DoorLimits } from './router-server.js';

const settings = [{ name: 'key.max_bytes', value: '4096', description: 'longest key' }];
const hold = { name: 'nightly', timestamp: 5, expiresUnixMs: 7, reason: 'backup', capped: false };
const put = { key: Buffer.from('a'), value: Buffer.from('1'), ttlMs: 0, ordering: 0, requestId: undefined };
let rig: DoorRig;

beforeEach(async () => {
  rig = await DoorRig.start({
    settings: () => Promise.resolve(settings as never),
    putSettings: () =>
      Promise.reject(new CairnError('INVALID_ARGUMENT', 'no such setting', { details: { field: 'name' } })),
    holds: () => Promise.resolve({ holds: [hold], safePoint: 3, timestamp: 9, pinnedBy: 'hold "nightly"' }),
    putHold: ({ ttlMs }) =>
      ttlMs > 0
        ? Promise.resolve(hold)
        : Promise.reject(new CairnError('INVALID_ARGUMENT', 'no time', { details: { field: 'ttl_ms' } })),
    deleteHold: ({ name }) => Promise.resolve({ deleted: name === hold.name }),
  });
});

afterEach(async () => {
  await rig.close();
});

const same = (bytes: Buffer): Buffer => bytes;

function raw(path: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    rig.client.makeUnaryRequest(
      path,
      same,
      same,
      request,
      (error: ServiceError | null, response?: Buffer) => {
        if (error !== null || response === undefined) reject(error ?? new Error('no response'));
        else resolve(response);
      },
    );
  });
}

describe('unary calls', () => {
  it('carries out and answers', async () => {
    const written = await new Promise<PutResponse>((resolve, reject) => {
      rig.client.put(put, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
    expect(written.timestamp).toBe(42);
    expect(rig.store.rows.get('a')?.toString()).toBe('1');
  });

  it('names the field of bad input', async () => {
    const error = await new Promise<CairnError>((resolve) => {
      rig.client.put({ ...put, key: Buffer.alloc(0) }, (failure) => {
        resolve(fromServiceError(failure as ServiceError));
      });
    });
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'key' } });
  });

  it('frees what a call held when its deadline passes', async () => {
    rig.store.holdPrefix = 'a';
    // On a busy machine a deadline can pass before the call has left the client: then it gets a longer one.
    for (let timeoutMs = 60; rig.store.held.length === 0; timeoutMs *= 2) {
      const deadline = Date.now() + timeoutMs;
      const failure = await new Promise<ServiceError | null>((resolve) => {
        rig.client.put(put, new Metadata(), { deadline }, resolve);
      });
      expect(failure?.code).toBe(status.DEADLINE_EXCEEDED);
    }
    await eventually(
      () => rig.router.openOperations === 0 && rig.store.cancelled.length === rig.store.held.length,
    );
  });

  it('frees what a call held when its caller leaves', async () => {
    rig.store.holdPrefix = 'a';
    const call = rig.client.put(put, () => undefined);
    await eventually(() => rig.store.held.length === 1);
    expect(rig.router.openOperations).toBe(1);
    call.cancel();
    await eventually(() => rig.router.openOperations === 0 && rig.store.cancelled.length === 1);
  });

  it('answers a batch of reads as far as one message holds them, and says so', async () => {
    for (let at = 0; at < 10; at += 1) rig.store.rows.set(`k${at}`, Buffer.alloc(1_000_000, at));
    const keys = Array.from({ length: 10 }, (_, at) => Buffer.from(`k${at}`));
    const values: number[] = [];
    let calls = 0;
    for (let left = keys; left.length > 0; left = left.slice(values.length - (keys.length - left.length))) {
      const { results, partial } = await new Promise<BatchGetResponse>((resolve, reject) => {
        rig.client.batchGet({ keys: left, consistency: 0, timestamp: 0 }, (error, response) => {
          if (error === null) resolve(response);
          else reject(error);
        });
      });
      for (const { result } of results)
        if (result?.$case === 'get') values.push(result.value.value[0] as number);
      expect(partial).toBe(results.length < left.length);
      calls += 1;
    }
    expect(values).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(calls).toBe(4);
    // What did not fit was read in vain, but never more than a window.
    expect(rig.store.received.length).toBeLessThan(40);
  });

  it('leaves out what failed compare-and-sets found, where the answer has no room for it', async () => {
    rig.store.rows.set('there', Buffer.alloc(1_000_000));
    const operation: WriteOperation['operation'] = {
      $case: 'compareAndSet',
      value: {
        ...{ key: Buffer.from('there'), value: undefined, ttlMs: 0, ordering: 0, requestId: undefined },
        expected: { $case: 'absent', value: true },
      },
    };
    const { results } = await new Promise<BatchWriteResponse>((resolve, reject) => {
      rig.client.batchWrite(
        { operations: Array(5).fill({ operation }), atomic: false },
        (error, response) => {
          if (error === null) resolve(response);
          else reject(error);
        },
      );
    });
    const omitted = results.map(
      ({ result }) => result?.$case === 'compareAndSet' && result.value.valueOmitted,
    );
    expect(omitted).toEqual([false, false, false, true, true]);
  });

  it.each([
    ['a timestamp alone means a read at it', { consistency: 0, timestamp: 5 }, undefined],
    ['a linearizable read is at no timestamp', { consistency: 1, timestamp: 5 }, 'timestamp'],
    ['nor is a stale one', { consistency: 2, timestamp: 5 }, 'timestamp'],
  ])('%s', async (_what, asked, field) => {
    const failure = await new Promise<ServiceError | null>((resolve) => {
      rig.client.get({ key: Buffer.from('a'), ...asked }, resolve);
    });
    if (field === undefined) {
      expect(failure).toBeNull();
      expect(rig.store.received[0]).toMatchObject({
        consistency: ReadConsistency.timestamp,
        readTimestamp: 5,
      });
    } else expect(fromServiceError(failure as ServiceError).details).toEqual({ field });
  });

  it('refuses a range deletion that names nothing', async () => {
    const none = Buffer.alloc(0);
    const error = await new Promise<CairnError>((resolve) => {
      rig.client.deleteRange({ start: none, end: none, prefix: none, all: false }, (failure) => {
        resolve(fromServiceError(failure as ServiceError));
      });
    });
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'all' } });
    expect(rig.store.received).toEqual([]);
  });

  it('streams a scan', async () => {
    rig.store.rows.set('a', Buffer.from('1'));
    rig.store.rows.set('b', Buffer.from('2'));
    const none = Buffer.alloc(0);
    const call = rig.client.scan({
      ...{ start: none, end: none, prefix: none, limit: 0, reverse: false, keysOnly: false },
      ...{ consistency: 0, timestamp: 0, pageBytes: 0 },
    });
    const pages: ScanResponse[] = [];
    for await (const page of call) pages.push(page as ScanResponse);
    expect(pages.flatMap(({ rows }) => rows.map(({ key }) => key.toString()))).toEqual(['a', 'b']);
    expect(pages[0]?.timestamp).toBe(77);
  });
});

describe('the other services on the port', () => {
  it('serves Cluster through its controller, errors with their fields', async () => {
    const client = new ClusterClient(rig.address, credentials.createInsecure());
    const listed = await new Promise<ListSettingsResponse>((resolve, reject) => {
      client.listSettings({}, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
    expect(listed.settings).toMatchObject([{ name: 'key.max_bytes', value: '4096' }]);
    const failure = await new Promise<ServiceError | null>((resolve) => {
      client.putSetting({ name: 'nonsense', value: '1', more: [] }, resolve);
    });
    expect(fromServiceError(failure as ServiceError)).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'name' },
    });
    client.close();
  });

  it('lists, makes and removes holds', async () => {
    const client = new ClusterClient(rig.address, credentials.createInsecure());
    const listed = await new Promise<ListHoldsResponse | undefined>((resolve) => {
      client.listHolds({}, (_error, response) => {
        resolve(response);
      });
    });
    expect(listed).toEqual({ holds: [hold], safePoint: 3, timestamp: 9, pinnedBy: 'hold "nightly"' });
    const made = (ttlMs: number, name = 'nightly'): Promise<unknown> =>
      new Promise((resolve) => {
        client.putHold({ name, timestamp: 5, ttlMs, reason: 'backup' }, (error, response) => {
          resolve(error === null ? response.hold : fromServiceError(error));
        });
      });
    expect(await made(1_000)).toEqual(hold);
    expect(await made(0)).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'ttl_ms' } });
    expect(await made(1, 'n'.repeat(4_097))).toMatchObject({
      message: expect.stringContaining('name has 4097 characters; the limit is 4096'),
    });
    const removed = await new Promise((resolve) => {
      client.deleteHold({ name: 'nightly' }, (_error, response) => {
        resolve(response);
      });
    });
    expect(removed).toEqual({ deleted: true });
    client.close();
  });

  it.each([
    [
      'too many keys',
      { keys: Array.from({ length: 1_001 }, (_, at) => Buffer.from(`k${at}`)) },
      /limit is 1000$/,
    ],
    [
      'a key that no put would take',
      { keys: [Buffer.alloc(100_000)] },
      /keys has 100000 bytes; the limit is 4096/,
    ],
    ['a key of no bytes', { keys: [Buffer.alloc(0)] }, /must not be empty/],
  ])('asks nobody to split at %s', async (_what, request, sentence) => {
    const client = new ClusterClient(rig.address, credentials.createInsecure());
    const failure = await new Promise<ServiceError | null>((resolve) => {
      client.splitRanges(request, resolve);
    });
    const error = fromServiceError(failure as ServiceError);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'keys' } });
    expect(error.message).toMatch(sentence);
    client.close();
  });

  it('says NOT_SERVING until it is told otherwise, and again afterwards', async () => {
    const check = (): Promise<Buffer> =>
      raw('/grpc.health.v1.Health/Check', Buffer.from('\x0a\x0bcairn.v1.KV', 'latin1'));
    const [serving, notServing] = [Buffer.from([8, 1]), Buffer.from([8, 2])];
    expect(await check()).toEqual(notServing);
    rig.server.setServing(true);
    expect(await check()).toEqual(serving);
    rig.server.setServing(false);
    expect(await check()).toEqual(notServing);
  });

  it('lists its services by reflection', async () => {
    const call = rig.client.makeBidiStreamRequest(
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      same,
      same,
    );
    call.write(Buffer.from([0x3a, 1, 0x2a]));
    const answer = await new Promise<Buffer>((resolve, reject) => {
      call.on('data', resolve);
      call.on('error', reject);
    });
    call.end();
    expect(answer.toString('latin1')).toContain('cairn.v1.KV');
    expect(answer.toString('latin1')).toContain('cairn.v1.Txn');
    expect(answer.toString('latin1')).toContain('cairn.v1.Watch');
    expect(answer.toString('latin1')).toContain('cairn.v1.Cluster');
  });

  it('says what to do about a port that is taken', async () => {
    const second = startRouterServer({
      cluster: {} as ClusterHandlers,
      kv: rig.doors.handlers,
      txn: createTxnService(rig.context),
      watch: createWatchService(rig.context, rig.watches),
      callerGone: () => undefined,
      listen: rig.address,
      limits: {} as DoorLimits,
      context: { clock: new NodeClock(), logger: noopLogger, metrics: noopMetrics },
    });
    await expect(second).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message:
        `${rig.address} is in use by another process: ` +
        'stop it, or choose another address with --grpc-listen',
    });
  });
});
