import { CairnError } from '@cairn/base';
import { ByteWriter } from '@cairn/codec';
import { describe, expect, it } from '@jest/globals';

import { MESSAGE_BYTES_MAX } from './frame-limits.js';
import {
  decodeRpcResponse,
  encodeRpcFailure,
  encodeRpcRequest,
  type RpcResponseFrame,
} from './rpc-frames.js';
import { createRpcServer, type RpcServerOptions } from './rpc-server.js';
import { HELLO } from './session-fakes.testing.js';
import { FrameType, type RpcMethod, type Session, type SessionHandlers } from './session-types.js';

/** Requests and answers are bytes; one that begins with a zero cannot be read. */
const ECHO: RpcMethod<Uint8Array, Uint8Array> = {
  name: 'test.Test/Echo',
  encodeRequest: (request) => request,
  decodeRequest: (bytes) => {
    if (bytes[0] === 0) throw new RangeError('index out of range');
    return bytes;
  },
  encodeResponse: (response) => response,
  decodeResponse: (bytes) => bytes,
};

class Caller {
  readonly answers: RpcResponseFrame[] = [];
  readonly handlers: SessionHandlers;
  #id = 0;

  constructor(options: RpcServerOptions, serve: (request: Uint8Array, host: string) => Promise<Uint8Array>) {
    const server = createRpcServer(options);
    server.handle(ECHO, (request, { host }) => serve(request, host));
    this.handlers = server.attach({
      remote: HELLO,
      remoteAddress: '[2001:db8::7]:4711',
      send: (_type: FrameType, parts: readonly Uint8Array[]) => {
        this.answers.push(decodeRpcResponse(Buffer.concat(parts)));
        return true;
      },
    } as Partial<Session> as Session);
  }

  async call(body: Uint8Array, method = ECHO.name): Promise<void> {
    this.#id += 1;
    const frame = Buffer.concat([encodeRpcRequest(this.#id, 1_000, method), body]);
    this.handlers.onFrame(FrameType.rpcRequest, frame);
    await this.settle();
  }

  cancel(id: number): void {
    const body = Buffer.alloc(4);
    body.writeUInt32LE(id);
    this.handlers.onFrame(FrameType.rpcCancel, body);
  }

  async settle(): Promise<void> {
    for (let step = 0; step < 8; step += 1) await Promise.resolve();
  }

  get codes(): (string | undefined)[] {
    return this.answers.map((answer) => (answer.type === 'failure' ? answer.error.code : undefined));
  }
}

describe('the rpc server', () => {
  it('tells a handler which host calls', async () => {
    const hosts: string[] = [];
    const caller = new Caller({}, (request, host) => {
      hosts.push(host);
      return Promise.resolve(request);
    });
    await caller.call(Buffer.from([1]));
    expect(hosts).toEqual(['[2001:db8::7]']);
  });

  it('answers a request that cannot be read with a coded error', async () => {
    const caller = new Caller({}, (request) => Promise.resolve(request));
    await caller.call(Buffer.from([0, 1]));
    await caller.call(Buffer.from([1]));
    expect(caller.codes).toEqual(['INVALID_ARGUMENT', undefined]);
  });

  it('answers the caller of an answer that no frame can hold with an error', async () => {
    const caller = new Caller({}, () => Promise.resolve(Buffer.alloc(MESSAGE_BYTES_MAX + 1)));
    await caller.call(Buffer.from([1]));
    expect(caller.codes).toEqual(['INVALID_ARGUMENT']);
  });

  it('holds requests of all sessions up to its bytes, and takes more when some are answered', async () => {
    const waiting: (() => void)[] = [];
    const caller = new Caller({ servedBytesMax: 1_000 }, (request) => {
      return new Promise((resolve) => {
        waiting.push(() => {
          resolve(request.subarray(0, 1));
        });
      });
    });
    await caller.call(Buffer.alloc(600, 1));
    await caller.call(Buffer.alloc(600, 1));
    expect(caller.codes).toEqual(['RESOURCE_EXHAUSTED']);
    waiting[0]?.();
    await caller.settle();
    await caller.call(Buffer.alloc(600, 1));
    waiting[1]?.();
    await caller.settle();
    expect(caller.codes).toEqual(['RESOURCE_EXHAUSTED', undefined, undefined]);
  });

  it('keeps the place of a cancelled call until its handler has settled', async () => {
    const waiting: (() => void)[] = [];
    const caller = new Caller({ servedMax: 2, servedBytesMax: 1_000 }, (request) => {
      return new Promise((resolve) => {
        waiting.push(() => {
          resolve(request);
        });
      });
    });
    for (let id = 1; id <= 20; id += 1) {
      await caller.call(Buffer.alloc(400, 1));
      caller.cancel(id);
    }
    expect(waiting).toHaveLength(2);
    expect(caller.codes).toEqual(Array.from({ length: 18 }, () => 'RESOURCE_EXHAUSTED'));
    for (const settle of waiting) settle();
    await caller.settle();
    await caller.call(Buffer.alloc(400, 1));
    expect(waiting).toHaveLength(3);
    // Nobody waits for the answers of those that were cancelled.
    expect(caller.answers).toHaveLength(18);
  });

  it('tells a handler that listens late why its call is over', async () => {
    const reasons: unknown[] = [];
    const started = Promise.withResolvers<undefined>();
    const server = createRpcServer();
    server.handle(ECHO, async (request, context) => {
      await started.promise;
      reasons.push(context.signal.aborted && context.signal.reason);
      return request;
    });
    const session = { remote: HELLO, send: () => true } as Partial<Session> as Session;
    const handlers = server.attach(session);
    const frame = Buffer.concat([encodeRpcRequest(1, 1_000, ECHO.name), Buffer.from([1])]);
    handlers.onFrame(FrameType.rpcRequest, frame);
    handlers.onClose(undefined);
    started.resolve(undefined);
    for (let step = 0; step < 8; step += 1) await Promise.resolve();
    expect(reasons).toEqual([expect.objectContaining({ code: 'CANCELLED' })]);
  });

  it('cuts long sentences and leaves long details out of errors', () => {
    const error = new CairnError('INTERNAL', 'x'.repeat(10_000), {
      details: { much: 'y'.repeat(2_000_000) },
    });
    const frame = encodeRpcFailure(1, error);
    expect(frame.length).toBeLessThan(5_000);
    expect(decodeRpcResponse(frame)).toMatchObject({
      type: 'failure',
      error: { code: 'INTERNAL', details: {} },
    });
  });

  it('has its caller believe no sentence and no details without end', () => {
    const writer = new ByteWriter(64);
    writer.u32(1);
    writer.u8(1);
    writer.string('UNAVAILABLE');
    writer.string('x'.repeat(1_000_000));
    writer.varint(5);
    writer.string(`[${'[],'.repeat(1_000_000)}[]]`);
    const { error } = decodeRpcResponse(writer.take()) as { error: CairnError };
    expect([error.code, error.message.length, error.details]).toEqual(['UNAVAILABLE', 4_096, {}]);
  });

  it('does not echo the whole name of a method that it does not know', async () => {
    const caller = new Caller({}, (request) => Promise.resolve(request));
    await caller.call(Buffer.from([1]), 'm'.repeat(100_000));
    expect(caller.answers[0]?.type === 'failure' && caller.answers[0].error.message.length).toBeLessThan(200);
  });
});
