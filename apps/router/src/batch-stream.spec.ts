import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fromServiceError } from '@cairn/wire';
import { KVClient } from '@cairn/wire/gen/cairn/v1/kv.js';
import { credentials, status, type ServiceError } from '@grpc/grpc-js';

import { deleteRangeOf, DoorRig, eventually, getOf, putOf, StreamEnd } from './door-rig.testing.js';

let rig: DoorRig;

beforeEach(async () => {
  rig = await DoorRig.start();
});

afterEach(async () => {
  await rig.close();
});

describe('the batch stream', () => {
  it('says hello first, then answers, with a timestamp in every message', async () => {
    const end = new StreamEnd(rig);
    end.send({ call: 1, operation: putOf('a') });
    await end.until(() => end.results.length === 1);
    expect(end.messages[0]).toMatchObject({ results: [], hello: { clusterId: 'rig', keyBytesMax: 4_096 } });
    expect(end.results[0]).toMatchObject({ call: 1, result: { $case: 'put', value: { timestamp: 42 } } });
    expect(
      end.messages.slice(1).every((message) => message.hello === undefined && message.timestamp === 77),
    ).toBe(true);
    end.stream.cancel();
  });

  it('says hello again when the limits have changed', async () => {
    const end = new StreamEnd(rig);
    await end.until(() => end.messages.length === 1);
    rig.limits.keyBytesMax = 8;
    rig.doors.limitsChanged();
    await end.until(() => end.messages.length === 2);
    expect(end.messages[1]).toMatchObject({ results: [], hello: { clusterId: 'rig', keyBytesMax: 8 } });
    end.send({ call: 1, operation: putOf('nine long') });
    await end.until(() => end.results.length === 1);
    expect(end.results[0]?.result).toMatchObject({ $case: 'error', value: { code: 'INVALID_ARGUMENT' } });
    end.stream.cancel();
  });

  it('answers a hundred values of a mebibyte in messages that clients accept', async () => {
    const value = Buffer.alloc(1024 * 1024, 7);
    const end = new StreamEnd(rig);
    for (let at = 0; at < 100; at += 1) rig.store.rows.set(`k${at}`, value);
    end.send(...Array.from({ length: 100 }, (_, at) => ({ call: at + 1, operation: getOf(`k${at}`) })));
    await end.until(() => end.results.length === 100);
    const sizes = end.results.map(({ result }) => (result?.$case === 'get' ? result.value.value.length : 0));
    expect(new Set(sizes)).toEqual(new Set([1024 * 1024]));
    expect(Math.max(...end.messages.map(({ results }) => results.length))).toBeLessThanOrEqual(2);
    end.stream.cancel();
  });

  it('holds a bounded number of bytes for a client that takes nothing, and refuses reads beyond', async () => {
    const value = Buffer.alloc(1024 * 1024, 7);
    rig.store.rows.set('large', value);
    const end = new StreamEnd(rig);
    await end.until(() => end.messages.length === 1);
    end.stream.pause();
    end.send(...Array.from({ length: 250 }, (_, at) => ({ call: at + 1, operation: getOf('large') })));
    await eventually(() => rig.store.received.length === 250);
    await eventually(() => rig.router.openOperations === 0);
    end.stream.resume();
    await end.until(() => end.results.length === 250);
    const codes = end.results.map(({ result }) => (result?.$case === 'error' ? result.value.code : 'OK'));
    const refused = codes.filter((code) => code === 'RESOURCE_EXHAUSTED').length;
    expect(codes.filter((code) => code === 'OK').length + refused).toBe(250);
    // 128 MiB are held, and what the connection has buffered by then.
    expect(refused).toBeGreaterThan(80);
    end.stream.cancel();
  });

  it('holds a bounded number of bytes for all clients that take nothing, and serves others', async () => {
    await rig.close();
    rig = await DoorRig.start({}, { answerBytesMax: 32 * 2 ** 20 });
    rig.store.rows.set('large', Buffer.alloc(1024 * 1024, 7));
    const ends = Array.from({ length: 12 }, () => new StreamEnd(rig));
    for (const end of ends) await end.until(() => end.messages.length === 1);
    for (const end of ends) {
      end.stream.pause();
      end.send(...Array.from({ length: 20 }, (_, at) => ({ call: at + 1, operation: getOf('large') })));
    }
    await eventually(() => rig.store.received.length === 240);
    await eventually(() => rig.router.openOperations === 0);
    expect(rig.context.callers.answers.peak).toBeLessThanOrEqual(16 * 2 ** 20);
    const get = (client: KVClient): Promise<ServiceError | null> =>
      new Promise((resolve) => {
        client.get({ key: Buffer.from('large'), consistency: 0, timestamp: 0 }, resolve);
      });
    // The same connection has its share, in calls too; another one has not.
    expect(fromServiceError((await get(rig.client)) as ServiceError)).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: 'the client has not taken the answers it has',
    });
    const other = new KVClient(rig.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    expect(await get(other)).toBeNull();
    other.close();
    for (const end of ends) end.stream.cancel();
    await eventually(() => rig.context.callers.answers.used === 0);
    expect(await get(rig.client)).toBeNull();
  });

  it('answers in the order of completion', async () => {
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    end.send(
      { call: 1, operation: getOf('slow') },
      { call: 2, operation: putOf('b') },
      { call: 3, operation: getOf('c') },
    );
    await end.until(() => end.results.length === 2);
    rig.store.release();
    await end.until(() => end.results.length === 3);
    expect(end.results.map(({ call }) => call)).toEqual([2, 3, 1]);
    end.stream.cancel();
  });

  it('names the field of bad input, and goes on', async () => {
    const end = new StreamEnd(rig);
    end.send(
      { call: 1, operation: putOf('') },
      { call: 2 },
      { call: 3, operation: putOf('x'.repeat(5_000)) },
      { call: 4, operation: putOf('good') },
    );
    await end.until(() => end.results.length === 4);
    const errors = end.results.flatMap(({ call, result }) =>
      result?.$case === 'error' ? [[call, result.value.code, result.value.field, result.value.message]] : [],
    );
    expect(errors).toEqual([
      [1, 'INVALID_ARGUMENT', 'key', 'key must not be empty'],
      [2, 'INVALID_ARGUMENT', 'operation', 'operation must be given'],
      [3, 'INVALID_ARGUMENT', 'key', 'key has 5000 bytes; the limit is 4096'],
    ]);
    end.stream.cancel();
  });

  it('removes everything only when it is told so in a word of its own', async () => {
    rig.store.rows.set('a', Buffer.from('1'));
    const end = new StreamEnd(rig);
    const none = Buffer.alloc(0);
    end.send(
      { call: 1, operation: deleteRangeOf({ start: none, end: none, prefix: none, all: false }) },
      { call: 2, operation: deleteRangeOf({ start: none, end: none, prefix: Buffer.from('a'), all: true }) },
    );
    await end.until(() => end.results.length === 2);
    for (const { result } of end.results)
      expect(result).toMatchObject({ $case: 'error', value: { code: 'INVALID_ARGUMENT', field: 'all' } });
    expect(rig.store.received).toEqual([]);
    end.send({ call: 3, operation: deleteRangeOf({ start: none, end: none, prefix: none, all: true }) });
    await end.until(() => end.results.length === 3);
    expect(end.results[2]?.result).toMatchObject({ $case: 'deleteRange' });
    end.stream.cancel();
  });

  it('frees what is cancelled, and does not answer it', async () => {
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    end.send({ call: 1, operation: putOf('slow') });
    await eventually(() => rig.store.held.length === 1);
    end.send({ call: 1, operation: { $case: 'cancel', value: true } });
    await eventually(() => rig.store.cancelled.length === 1);
    expect(rig.router.openOperations).toBe(0);
    rig.store.release();
    // The number is free again.
    end.send({ call: 1, operation: getOf('other') });
    await end.until(() => end.results.length === 1);
    expect(end.results.map(({ result }) => result?.$case)).toEqual(['get']);
    end.stream.cancel();
  });

  it('hears cancellations while it has all that the router takes', async () => {
    await rig.close();
    rig = await DoorRig.start({}, { openOpsMax: 256 });
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    const calls = Array.from({ length: 256 }, (_, at) => at + 1);
    end.send(...calls.map((call) => ({ call, operation: getOf('slow') })));
    await eventually(() => rig.store.held.length === 256);
    end.send(...calls.map((call) => ({ call, operation: { $case: 'cancel' as const, value: true } })));
    await eventually(() => rig.store.cancelled.length === 256);
    expect(rig.router.openOperations).toBe(0);
    end.stream.cancel();
  });

  it('is not read while its share of bytes is open', async () => {
    await rig.close();
    rig = await DoorRig.start({}, { openBytesMax: 4_000_000 });
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    for (let call = 1; call <= 40; call += 1) {
      end.send({ call, operation: putOf('slow', Buffer.alloc(500_000)) });
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => rig.store.held.length >= 9);
    await new Promise((resolve) => setTimeout(resolve, 50));
    // Four megabytes, and what had come by then.
    expect(rig.router.openOperations).toBeLessThan(30);
    const done = end.until(() => end.results.length === 40);
    rig.store.release();
    await done;
    end.stream.cancel();
  });

  it('refuses a call number that is in use', async () => {
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    end.send({ call: 1, operation: putOf('slow') }, { call: 1, operation: getOf('a') });
    await end.until(() => end.results.length === 1);
    expect(end.results[0]?.result).toMatchObject({ $case: 'error', value: { field: 'call' } });
    end.stream.cancel();
  });

  it('ends one stream for a garbled message, and frees what it had; others go on', async () => {
    rig.store.holdPrefix = 'slow';
    const garbled = new StreamEnd(rig);
    const healthy = new StreamEnd(rig);
    garbled.send({ call: 1, operation: putOf('slow') });
    await eventually(() => rig.store.held.length === 1);
    garbled.stream.write(Buffer.from([10, 200, 1, 1]));
    await garbled.until(() => garbled.status !== undefined);
    expect(garbled.status?.code).not.toBe(status.OK);
    await eventually(() => rig.router.openOperations === 0);
    healthy.send({ call: 1, operation: putOf('a') });
    await healthy.until(() => healthy.results.length === 1);
    expect(healthy.results[0]?.result?.$case).toBe('put');
    healthy.stream.cancel();
  });

  it('frees everything when the client goes away', async () => {
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    end.send({ call: 1, operation: putOf('slow1') }, { call: 2, operation: getOf('slow2') });
    await eventually(() => rig.store.held.length === 2);
    end.stream.cancel();
    await eventually(() => rig.router.openOperations === 0 && rig.doors.openStreams === 0);
    await eventually(() => rig.store.cancelled.length === 2);
  });

  it('answers what is open after the client has said its last word, then ends', async () => {
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    end.send({ call: 1, operation: getOf('slow') });
    end.stream.end();
    await eventually(() => rig.store.held.length === 1);
    const ended = rig.doors.streamsEnded();
    rig.store.release();
    await end.until(() => end.status !== undefined);
    await ended;
    expect([rig.doors.openStreams, end.status?.code]).toEqual([0, status.OK]);
    expect(end.results.map(({ call }) => call)).toEqual([1]);
  });

  it('stops reading from a client that does not take its answers', async () => {
    rig.store.rows.set('large', Buffer.alloc(100_000));
    const end = new StreamEnd(rig);
    await end.until(() => end.messages.length === 1);
    end.stream.pause();
    for (let call = 1; call <= 400; call += 1) {
      end.send({ call, operation: getOf('large') });
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => rig.store.received.length > 0 && rig.router.openOperations === 0);
    // What the router took on is what fits into the buffers between here and there.
    expect(rig.store.received.length).toBeLessThan(200);
    end.stream.resume();
    await end.until(() => end.results.length === 400);
    expect(new Set(end.results.map(({ call }) => call)).size).toBe(400);
    end.stream.cancel();
  }, 20_000);

  it('cuts answers that are too large together for one message', async () => {
    rig.store.rows.set('large', Buffer.alloc(1_000_000));
    const end = new StreamEnd(rig);
    end.send(...Array.from({ length: 30 }, (_, at) => ({ call: at + 1, operation: getOf('large') })));
    await end.until(() => end.results.length === 30 || end.status !== undefined);
    expect(end.status).toBeUndefined();
    expect(end.results).toHaveLength(30);
    end.stream.cancel();
  });

  it('drains: answers what is open, takes nothing new, ends in good order', async () => {
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    end.send({ call: 1, operation: putOf('slow') });
    await eventually(() => rig.store.held.length === 1);
    rig.doors.drain();
    end.send({ call: 2, operation: putOf('late') });
    const ended = rig.doors.streamsEnded();
    rig.store.release();
    await end.until(() => end.status !== undefined);
    await ended;
    expect([rig.doors.openStreams, end.status?.code]).toEqual([0, status.OK]);
    expect(end.results.map(({ call }) => call)).toEqual([1]);
    expect(rig.store.rows.has('late')).toBe(false);
  });

  it('tells of open operations what is known of them when the router closes', async () => {
    rig.store.holdPrefix = 'slow';
    const end = new StreamEnd(rig);
    end.send({ call: 1, operation: putOf('slow1') }, { call: 2, operation: getOf('slow2') });
    await eventually(() => rig.store.held.length === 2);
    rig.doors.drain();
    rig.router.close();
    await end.until(() => end.status !== undefined);
    const codes = end.results.map(({ call, result }) => [
      call,
      result?.$case === 'error' ? result.value.code : '',
    ]);
    expect(codes.sort()).toEqual([
      [1, 'OUTCOME_UNKNOWN'],
      [2, 'UNAVAILABLE'],
    ]);
  });
});
