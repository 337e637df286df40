import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';

import { createMetrics } from '@cairn/observability';
import { KVClient, KVService, type ScanRequest } from '@cairn/wire/gen/cairn/v1/kv.js';
import { credentials } from '@grpc/grpc-js';

import { DoorRig, eventually, getOf } from './door-rig.testing.js';

const MIB = 1024 * 1024;
/** Of all connections together. */
const ANSWER_BYTES_MAX = 16 * MIB;

const NONE = Buffer.alloc(0);
const SCAN: ScanRequest = {
  ...{ start: NONE, end: NONE, prefix: NONE, limit: 0, reverse: false, keysOnly: false },
  ...{ consistency: 0, timestamp: 0, pageBytes: 2 * MIB },
};

const metrics = createMetrics({ processMetrics: false });
let rig: DoorRig;
const sessions: ClientHttp2Session[] = [];

beforeEach(async () => {
  rig = await DoorRig.start({}, { answerBytesMax: ANSWER_BYTES_MAX, metrics });
  rig.store.rows.set('large', Buffer.alloc(MIB));
  rig.store.rows.set('small', Buffer.alloc(8 * 1024));
});

afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await rig.close();
});

/** A connection that lets nothing come: the window of each stream is empty. */
function silent(): ClientHttp2Session {
  const session = connect(`http://${rig.address}`, { settings: { initialWindowSize: 0 } });
  session.on('error', () => undefined);
  sessions.push(session);
  return session;
}

function ask(session: ClientHttp2Session, key: string, count: number): ClientHttp2Stream {
  const stream = session.request({
    ...{ ':path': KVService.batch.path, ':method': 'POST', 'content-type': 'application/grpc' },
  });
  stream.on('error', () => undefined);
  const operations = Array.from({ length: count }, (_, call) => ({
    ...{ call: call + 1, timeoutMs: 0, traceparent: '', operation: getOf(key) },
  }));
  const message = KVService.batch.requestSerialize({ operations });
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  stream.write(Buffer.concat([head, message]));
  return stream;
}

function scan(session: ClientHttp2Session): ClientHttp2Stream {
  const stream = session.request({
    ...{ ':path': KVService.scan.path, ':method': 'POST', 'content-type': 'application/grpc' },
  });
  stream.on('error', () => undefined);
  const message = KVService.scan.requestSerialize(SCAN);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([head, message]));
  return stream;
}

function get(client: KVClient, key: string): Promise<number> {
  return new Promise((resolve) => {
    client.get({ key: Buffer.from(key), consistency: 0, timestamp: 0 }, (error, response) => {
      resolve(error === null ? (response?.value.length ?? 0) : -error.code);
    });
  });
}

/** So many requests have come to the shard, and nothing is under way any more. */
const answered = (requests: number): Promise<void> =>
  eventually(() => rig.store.received.length >= requests && rig.router.openOperations === 0);

const held = (): number => rig.context.callers.answers.used;

describe('clients that take no answers', () => {
  it('keep nobody else from reading: the stream that held most for longest is reset', async () => {
    const streams: ClientHttp2Stream[] = [];
    for (const [key, count] of [
      ['large', 40],
      ['small', 100],
    ] as const) {
      for (let each = 0; each < 60 && held() + 8_192 <= ANSWER_BYTES_MAX; each += 1) {
        const received = rig.store.received.length;
        streams.push(ask(silent(), key, count));
        await answered(received + count);
      }
    }
    expect(held()).toBeGreaterThan(ANSWER_BYTES_MAX - 8_192);
    const other = new KVClient(rig.address, credentials.createInsecure());
    let answer = await get(other, 'large');
    for (let tries = 0; answer < 0 && tries < 200; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      answer = await get(other, 'large');
    }
    expect(answer).toBe(MIB);
    await eventually(() => streams.some(({ rstCode }) => rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM));
    expect(await metrics.render()).toMatch(/^cairn_router_untaken_calls_ended_total [1-9]/m);
    other.close();
  });

  it('are the same caller with their next stream while the answers of the last one wait', async () => {
    const session = silent();
    for (let each = 0; each < 6; each += 1) {
      const received = rig.store.received.length;
      ask(session, 'large', 20).end();
      await answered(received + 20);
    }
    // The share of one connection, however many streams it had.
    expect(held()).toBe(ANSWER_BYTES_MAX / 2);
    session.destroy();
    await eventually(() => held() === 0);
  });

  it('keep no scan of others from beginning: one that nobody takes is reset', async () => {
    rig.store.endlessScan = Buffer.alloc(100_000);
    const { callers } = rig.context;
    const streams: ClientHttp2Stream[] = [];
    // Each may have 4 MiB of pages, and all of them twice 100 MB.
    while (callers.scanBytes + 4 * MIB <= 2e8) {
      const before = callers.scanBytes;
      streams.push(scan(silent()));
      await eventually(() => callers.scanBytes > before);
    }
    const other = new KVClient(rig.address, credentials.createInsecure());
    const begin = (): Promise<'data' | 'refused'> =>
      new Promise((resolve) => {
        const call = other.scan(SCAN);
        call.on('error', () => resolve('refused'));
        call.once('data', () => {
          resolve('data');
          call.cancel();
        });
      });
    let began = await begin();
    for (let tries = 0; began === 'refused' && tries < 200; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      began = await begin();
    }
    expect(began).toBe('data');
    await eventually(() => streams.some(({ rstCode }) => rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM));
    for (const session of sessions.splice(0)) session.destroy();
    await eventually(() => callers.scanBytes === 0);
    other.close();
  });
});
