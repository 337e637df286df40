/**
 * Goal: what the door of change streams takes, refuses and says. Method: real gRPC on loopback before watches
 * that say what the test wants.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';

import { CairnError, Gates, timestamp } from '@cairn/base';
import { createMetrics } from '@cairn/observability';
import { fromServiceError } from '@cairn/wire';
import {
  WatchClient,
  WatchRequest,
  WatchResetReason,
  WatchService,
  type WatchResponse,
} from '@cairn/wire/gen/cairn/v1/watch.js';
import { credentials, type ClientReadableStream, type ServiceError } from '@grpc/grpc-js';

import { DoorRig, eventually } from './door-rig.testing.js';
import { changesOf } from './fake-watches.testing.js';

const metrics = createMetrics({ processMetrics: false });
let rig: DoorRig;
let client: WatchClient;

beforeEach(async () => {
  rig = await DoorRig.start({}, { metrics });
  client = new WatchClient(rig.address, credentials.createInsecure());
});

afterEach(async () => {
  client.close();
  await rig.close();
});

/** The client's end of a watch. */
class WatchEnd {
  readonly messages: WatchResponse['event'][] = [];
  readonly stream: ClientReadableStream<WatchResponse>;
  error: CairnError | undefined;
  isOver = false;

  constructor(request: Partial<WatchRequest>) {
    this.stream = client.watch({ ...WatchRequest.decode(Buffer.alloc(0)), ...request });
    this.stream.on('data', ({ event }: WatchResponse) => this.messages.push(event));
    this.stream.on('error', (error: ServiceError) => {
      this.error = fromServiceError(error);
    });
    this.stream.on('status', () => {
      this.isOver = true;
    });
  }

  async begun(): Promise<this> {
    await eventually(() => this.messages.length > 0 || this.isOver);
    return this;
  }

  async refusal(): Promise<[string, unknown]> {
    await eventually(() => this.isOver);
    return [this.error?.code ?? 'OK', this.error?.details['field']];
  }
}

const watch = (request: Partial<WatchRequest>): Promise<WatchEnd> => new WatchEnd(request).begun();
const bytes = (text: string): Buffer => Buffer.from(text);

describe('a watch', () => {
  it('says where it starts, then changes, signs of life and a reset', async () => {
    const end = await watch({ prefix: bytes('a') });
    const { last } = rig.watches;
    last.say(
      changesOf(
        { key: bytes('a1'), start: timestamp(550), expiresAt: timestamp(4096 * 7) },
        {
          key: bytes('a2'),
          type: 'delete',
          value: bytes(''),
          previous: { value: bytes('old'), timestamp: timestamp(9), expiresAt: timestamp(0) },
        },
      ),
      { type: 'progress', token: bytes('p'), resolved: timestamp(700) },
      { type: 'reset', reason: 'backlog', oldest: timestamp(3) },
    );
    await eventually(() => end.isOver);
    expect(end.error).toBeUndefined();
    expect(end.messages).toMatchObject([
      { $case: 'started', value: { timestamp: 500, token: bytes('start') } },
      {
        $case: 'changes',
        value: {
          changes: [
            {
              ...{ key: bytes('a1'), deleted: false, value: bytes('v'), timestamp: 600, transaction: 550 },
              ...{ previous: undefined, token: bytes('token'), expiresUnixMs: 1_767_225_600_007 },
              version: Buffer.from('000000000000025800000007', 'hex'),
            },
            {
              ...{ key: bytes('a2'), deleted: true, transaction: 0, expiresUnixMs: 0 },
              previous: { value: bytes('old'), timestamp: 9, expiresUnixMs: 0 },
            },
          ],
        },
      },
      { $case: 'progress', value: { timestamp: 700, token: bytes('p') } },
      { $case: 'reset', value: { reason: WatchResetReason.BACKLOG, oldest: 3 } },
    ]);
    expect(last.isClosed).toBe(true);
  });

  it('is of a key, a prefix, a span or everything that is not reserved', async () => {
    const spans = [{ key: bytes('k') }, { prefix: bytes('p') }, { start: bytes('s'), end: bytes('t') }, {}];
    for (const span of spans) await watch(span);
    expect(rig.watches.open.map(({ options: { span } }) => [span.start, span.end])).toEqual([
      [bytes('k'), bytes('k\0')],
      [bytes('p'), Uint8Array.from(bytes('q'))],
      [bytes('s'), bytes('t')],
      [bytes(''), Buffer.of(0xff)],
    ]);
  });

  it('begins now, with a token or at a timestamp', async () => {
    await watch({});
    await watch({ from: { $case: 'token', value: bytes('x') }, withPrevious: true, progressMs: 700 });
    await watch({ from: { $case: 'timestamp', value: 9 } });
    expect(rig.watches.open.map(({ options: { from } }) => from)).toEqual([
      { type: 'now' },
      { type: 'token', token: bytes('x') },
      { type: 'timestamp', timestamp: 9 },
    ]);
    expect(rig.watches.open.map(({ options }) => [options.withPrevious, options.progressMs])).toEqual([
      [false, 5_000],
      [true, 700],
      [false, 5_000],
    ]);
  });

  it.each<[string, Partial<WatchRequest>, string]>([
    ['a key and a prefix', { key: bytes('k'), prefix: bytes('p') }, 'key'],
    ['a prefix and an end', { prefix: bytes('k'), end: bytes('p') }, 'prefix'],
    ['a reserved key', { key: Buffer.of(0xff, 1) }, 'key'],
    ['a reserved prefix', { prefix: Buffer.of(0xff) }, 'prefix'],
    ['a reserved start', { start: Buffer.of(0xff) }, 'start'],
    ['an end before the start', { start: bytes('b'), end: bytes('a') }, 'end'],
    ['a span of nothing', { start: bytes('b'), end: bytes('b') }, 'end'],
    ['a key that is too long', { key: Buffer.alloc(40_000, 1) }, 'key'],
    ['signs of life too often', { progressMs: 499 }, 'progress_ms'],
    ['signs of life too seldom', { progressMs: 60_001 }, 'progress_ms'],
  ])('is refused for %s', async (_what, request, field) => {
    expect(await new WatchEnd(request).refusal()).toEqual(['INVALID_ARGUMENT', field]);
    expect(rig.watches.open).toEqual([]);
  });

  it('is refused until the cluster knows change streams', async () => {
    Object.assign(rig.watches, { gates: new Gates(2) });
    expect(await new WatchEnd({}).refusal()).toEqual(['FAILED_PRECONDITION', undefined]);
    Object.assign(rig.watches, { gates: new Gates(0) });
    expect(await new WatchEnd({}).refusal()).toEqual(['UNAVAILABLE', undefined]);
  });

  it('ends with what it is refused for, and with what ends it later', async () => {
    rig.watches.failure = new CairnError('RESOURCE_EXHAUSTED', 'too many', { retryAfterMs: 7 });
    const refused = new WatchEnd({});
    await refused.refusal();
    expect(refused.error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', retryAfterMs: 7 });
    rig.watches.failure = undefined;
    const end = await watch({});
    rig.watches.last.fail(new CairnError('UNAVAILABLE', 'the router is stopping'));
    expect(await end.refusal()).toEqual(['UNAVAILABLE', undefined]);
  });

  it('is let go when its client gives up', async () => {
    const end = await watch({});
    end.stream.cancel();
    await eventually(() => rig.watches.last.isClosed);
  });
});

describe('a client that takes nothing', () => {
  let session: ClientHttp2Session;

  afterEach(() => {
    session.destroy();
  });

  function silent(): ClientHttp2Stream {
    session = connect(`http://${rig.address}`, { settings: { initialWindowSize: 0 } });
    session.on('error', () => undefined);
    const stream = session.request({
      ...{ ':path': WatchService.watch.path, ':method': 'POST', 'content-type': 'application/grpc' },
    });
    stream.on('error', () => undefined);
    const message = WatchService.watch.requestSerialize(WatchRequest.decode(Buffer.alloc(0)));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([head, message]));
    return stream;
  }

  it('is written one message at a time, and cut off when its watch has ended', async () => {
    const stream = silent();
    let isClosed = false;
    stream.on('close', () => {
      isClosed = true;
    });
    await eventually(() => rig.watches.open.length > 0);
    const { last } = rig.watches;
    last.say(
      ...Array.from({ length: 50 }, () => changesOf({ key: bytes('k'), value: Buffer.alloc(100_000) })),
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(last.reads).toBeLessThan(3);
    last.say({ type: 'reset', reason: 'backlog', oldest: timestamp(0) });
    await eventually(() => isClosed);
    expect(last.isClosed).toBe(true);
  });
});
