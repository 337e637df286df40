import { connect, createServer, type AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import type { Connection } from '@cairn/ports';
import { FrameParser } from './frame-parser.js';
import { FrameRoom } from './frame-room.js';
import { FrameTurns } from './frame-turns.js';
import { TcpConnection } from './tcp-connection.js';
import { parseAddress, TcpTransport } from './tcp-transport.js';

const MIB = 1024 * 1024;

const nothing = (): void => undefined;

/** A parser with a bound of its own. */
function parserOf(onFrame: (frame: Buffer) => void, limit = 512 * MIB): FrameParser {
  return new FrameParser(onFrame, nothing, new FrameRoom(limit));
}

function framed(body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
}

describe('FrameParser', () => {
  it('finds the same frames wherever the stream is cut', () => {
    const bodies = [Buffer.alloc(0), Buffer.from('a'), Buffer.from('hello'), Buffer.alloc(300, 7)];
    const stream = Buffer.concat(bodies.map(framed));
    for (let step = 1; step <= stream.length; step += 1) {
      const found: Buffer[] = [];
      const parser = parserOf((frame) => found.push(frame));
      for (let at = 0; at < stream.length; at += step) {
        parser.push(stream.subarray(at, at + step));
      }
      expect(found).toEqual(bodies);
    }
  });

  it('hands out so many frames of a chunk as it is told, and goes on where it stopped', () => {
    const stream = Buffer.concat([1, 2, 3, 4, 5].map((size) => framed(Buffer.alloc(size))));
    const found: number[] = [];
    const parser = parserOf((frame) => found.push(frame.length));
    let at = parser.push(stream, 0, 2);
    expect([at, found]).toEqual([11, [1, 2]]);
    at = parser.push(stream, at, 2);
    expect(found).toEqual([1, 2, 3, 4]);
    expect(parser.push(stream, at, 2)).toBe(stream.length);
    expect(found).toEqual([1, 2, 3, 4, 5]);
  });

  it('assembles a frame larger than its first allocation', () => {
    const body = Buffer.alloc(5 * 1024 * 1024 + 3, 9);
    body[body.length - 1] = 1;
    const stream = framed(body);
    const found: Buffer[] = [];
    const parser = parserOf((frame) => found.push(frame));
    for (let at = 0; at < stream.length; at += 65_536) parser.push(stream.subarray(at, at + 65_536));
    expect(found).toHaveLength(1);
    expect(found[0]?.equals(body)).toBe(true);
  });
});

it('says which address is taken', async () => {
  const transport = new TcpTransport();
  const listener = await transport.listen('127.0.0.1:0', nothing);
  await expect(transport.listen(listener.address, nothing)).rejects.toThrow(
    `${listener.address} is in use by another process: stop it, or choose another address`,
  );
  await listener.close();
});

describe('FrameParser under attack', () => {
  const announced = (bytes: number): Buffer => {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(bytes);
    return head;
  };

  it('refuses a frame that is longer than what is taken now, and takes longer ones when told', () => {
    const found: number[] = [];
    const parser = parserOf((frame) => found.push(frame.length), MIB);
    parser.limitFrames(100);
    parser.push(framed(Buffer.alloc(100)));
    expect(() => {
      parser.push(announced(101));
    }).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
    parser.limitFrames(200);
    parser.push(framed(Buffer.alloc(200)));
    expect(found).toEqual([100, 200]);
  });

  it('shares one bound between all connections, and leaves room for those that come later', () => {
    const room = new FrameRoom(128 * MIB);
    const refused: unknown[] = [];
    const begin = (frameBytes: number, bytes: number): FrameParser => {
      const parser = new FrameParser(nothing, nothing, room);
      try {
        parser.push(announced(frameBytes));
        for (let sent = 1; sent < bytes; sent += MIB / 4) parser.push(Buffer.alloc(MIB / 4));
      } catch (error) {
        refused.push(error);
        parser.stop();
      }
      return parser;
    };
    const large = Array.from({ length: 5 }, () => begin(64 * MIB, 33 * MIB));
    expect(refused).toHaveLength(4);
    expect(refused[0]).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    const small = Array.from({ length: 32 }, () => begin(MIB, 1));
    expect(refused).toHaveLength(4);
    expect(room.used).toBeLessThanOrEqual(128 * MIB);
    for (const each of [...large, ...small]) each.stop();
    expect(room.used).toBe(0);
  });

  it('ends the connection that holds most for longest when another finds no room', () => {
    let nowMs = 0;
    const room = new FrameRoom(16 * MIB, () => nowMs);
    const cut: [number, string][] = [];
    const hostile = Array.from({ length: 16 }, (_, at) => {
      const parser = new FrameParser(nothing, (error) => cut.push([at, error.code]), room);
      parser.push(announced(MIB));
      nowMs += 1;
      return parser;
    });
    expect(room.used).toBe(16 * MIB);
    const late: number[] = [];
    const early = new FrameParser((frame) => late.push(frame.length), nothing, room);
    expect(() => {
      early.push(announced(40_000));
    }).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }));
    expect(cut).toEqual([]);
    nowMs = 1_010;
    const parser = new FrameParser((frame) => late.push(frame.length), nothing, room);
    parser.push(announced(40_000));
    parser.push(Buffer.alloc(39_999));
    expect(late).toEqual([40_000]);
    expect(cut).toEqual([[0, 'RESOURCE_EXHAUSTED']]);
    // What still comes for it is nobody's any more.
    hostile[0]?.push(Buffer.alloc(MIB));
    expect(room.used).toBe(15 * MIB);
  });

  it('gives back what a frame held, whole or given up', () => {
    const room = new FrameRoom(64 * MIB);
    const parser = new FrameParser(nothing, nothing, room);
    const stream = framed(Buffer.alloc(5 * MIB));
    parser.push(stream.subarray(0, 3 * MIB));
    expect(room.used).toBeGreaterThan(2 * MIB);
    parser.push(stream.subarray(3 * MIB));
    expect(room.used).toBe(0);
    parser.push(stream.subarray(0, 3 * MIB));
    parser.stop();
    expect(room.used).toBe(0);
  });
});

describe('TcpTransport', () => {
  it('takes nothing while paused, and everything in order afterwards', async () => {
    const transport = new TcpTransport();
    const received: number[] = [];
    const whole = Promise.withResolvers<undefined>();
    const accepted = Promise.withResolvers<Connection>();
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      connection.setHandlers({
        onFrame: (frame) => {
          received.push(frame[0] as number);
          if (received.length === 1) connection.pause();
          if (received.length === 60) whole.resolve(undefined);
        },
        onClose: () => undefined,
      });
      accepted.resolve(connection);
    });
    const client = transport.connect(listener.address);
    const drained = Promise.withResolvers<undefined>();
    client.setHandlers({
      onFrame: () => undefined,
      onClose: () => undefined,
      onDrain: () => {
        drained.resolve(undefined);
      },
    });
    let isBelow = true;
    for (let at = 0; at < 60; at += 1) isBelow = client.send([Buffer.alloc(MIB, at)]);
    expect(isBelow).toBe(false);
    const server = await accepted.promise;
    // What the system takes in both directions is far below what was sent.
    for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(received.length).toBeLessThan(60);
    expect(client.queuedBytes).toBeGreaterThan(20 * MIB);
    server.resume();
    await whole.promise;
    await drained.promise;
    expect(received).toEqual(Array.from({ length: 60 }, (_, at) => at));
    client.close();
    await listener.close();
  });

  it('handles small frames in many turns, in order and to the end, so that others have theirs', async () => {
    const transport = new TcpTransport();
    const received: number[] = [];
    const perTurn: number[] = [];
    const closed = Promise.withResolvers<undefined>();
    let ofTurn = 0;
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      connection.setHandlers({
        onFrame: (frame) => {
          received.push(frame.readUInt32LE(0));
          ofTurn += 1;
          if (ofTurn > 1) return;
          setImmediate(() => {
            perTurn.push(ofTurn);
            ofTurn = 0;
          });
        },
        onClose: () => {
          closed.resolve(undefined);
        },
      });
    });
    const count = 100_000;
    const stream = Buffer.alloc(count * 8);
    for (let at = 0; at < count; at += 1) {
      stream.writeUInt32LE(4, at * 8);
      stream.writeUInt32LE(at, at * 8 + 4);
    }
    const raw = connect(parseAddress(listener.address));
    raw.end(stream);
    await closed.promise;
    expect(received).toEqual(Array.from({ length: count }, (_, at) => at));
    expect(Math.max(...perTurn)).toBeLessThan(2_048);
    raw.destroy();
    await listener.close();
  });

  it('hands out only a few of many small frames that came before it was paused, and the rest afterwards', async () => {
    const transport = new TcpTransport();
    let received = 0;
    const whole = Promise.withResolvers<undefined>();
    const paused = Promise.withResolvers<Connection>();
    const count = 5_000;
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      connection.setHandlers({
        onFrame: () => {
          received += 1;
          if (received === 1) {
            connection.pause();
            paused.resolve(connection);
          }
          if (received === count) whole.resolve(undefined);
        },
        onClose: () => undefined,
      });
    });
    const raw = connect(parseAddress(listener.address));
    raw.write(Buffer.concat(Array.from({ length: count }, () => framed(Buffer.alloc(4)))));
    const connection = await paused.promise;
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(received).toBeLessThanOrEqual(256);
    connection.resume();
    await whole.promise;
    raw.destroy();
    await listener.close();
  });

  it('shows how far a slow reader has come, within one large frame', async () => {
    const transport = new TcpTransport();
    const accepted = Promise.withResolvers<Connection>();
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      connection.setHandlers({ onFrame: () => undefined, onClose: () => undefined });
      accepted.resolve(connection);
    });
    const [host = '', port = ''] = listener.address.split(':');
    const reader = connect(Number(port), host);
    const server = await accepted.promise;
    server.send([Buffer.alloc(48 * MIB, 1), Buffer.alloc(1000, 2)]);
    const before = server.queuedBytes;
    let read = 0;
    let last = 0;
    const half = Promise.withResolvers<undefined>();
    const whole = Promise.withResolvers<undefined>();
    reader.on('data', (chunk: Buffer) => {
      read += chunk.length;
      last = chunk.at(-1) ?? 0;
      if (read > 24 * MIB && !reader.isPaused()) {
        reader.pause();
        half.resolve(undefined);
      }
      if (read >= 48 * MIB + 1000) whole.resolve(undefined);
    });
    await half.promise;
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(server.queuedBytes).toBeLessThan(before - 20 * MIB);
    reader.removeAllListeners('data');
    reader.on('data', (chunk: Buffer) => {
      read += chunk.length;
      last = chunk.at(-1) ?? 0;
      if (read >= 48 * MIB + 1000) whole.resolve(undefined);
    });
    reader.resume();
    await whole.promise;
    expect(last).toBe(2);
    expect(server.queuedBytes).toBe(0);
    reader.destroy();
    await listener.close();
  });

  it('carries frames both ways, in order, and closes', async () => {
    const transport = new TcpTransport();
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      connection.setHandlers({ onFrame: (frame) => connection.send([frame]), onClose: () => undefined });
    });
    const client = transport.connect(listener.address);
    const sizes = [0, 1, 5000, 100_000, 3_000_000];
    const received: number[] = [];
    await new Promise<void>((resolve) => {
      client.setHandlers({
        onFrame: (frame) => {
          received.push(frame.length);
          if (received.length === sizes.length) client.close();
        },
        onClose: (error) => {
          expect(error).toBeUndefined();
          resolve();
        },
      });
      for (const size of sizes)
        client.send([Buffer.alloc(size >> 1, 1), Buffer.alloc(size - (size >> 1), 2)]);
    });
    expect(received).toEqual(sizes);
    await listener.close();
  });

  it('keeps no file open for a connection that is closed before anything was said on it', async () => {
    const isGone = Promise.withResolvers<boolean>();
    const limits = {
      ...{ highWaterBytes: MIB, lowWaterBytes: MIB, queuedBytesMax: MIB },
      ...{ connectTimeoutMs: 1_000, assemblyBytesMax: MIB },
    };
    const server = createServer((socket) => {
      const around = { limits, assembly: new FrameRoom(MIB), turns: new FrameTurns() };
      const connection = new TcpConnection(socket, 'client', around);
      connection.setHandlers({ onFrame: nothing, onClose: nothing });
      connection.close();
      isGone.resolve(socket.destroyed);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    // It keeps its own side open: whoever waits for it waits for long.
    const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    client.on('error', nothing);
    expect(await isGone.promise).toBe(true);
    client.destroy();
    server.close();
  });

  it('closes a connection with a garbled length and names peer and length', async () => {
    const transport = new TcpTransport();
    let accepted: Connection | undefined;
    const closed = Promise.withResolvers<Error | undefined>();
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      accepted = connection;
      connection.setHandlers({ onFrame: () => undefined, onClose: closed.resolve });
    });
    const raw = connect(parseAddress(listener.address));
    raw.on('error', () => undefined);
    raw.write(Buffer.from([255, 255, 255, 255]));
    const error = await closed.promise;
    expect(error?.message).toContain('4294967295');
    expect(error?.message).toContain(accepted?.remoteAddress);
    raw.destroy();
    await listener.close();
  });

  it('says why when nobody listens', async () => {
    const transport = new TcpTransport();
    const listener = await transport.listen('127.0.0.1:0', () => undefined);
    await listener.close();
    const connection = transport.connect(listener.address);
    const error = await new Promise<Error | undefined>((resolve) => {
      connection.setHandlers({ onFrame: () => undefined, onClose: resolve });
    });
    expect(error?.message).toContain('ECONNREFUSED');
    expect(connection.isOpen).toBe(false);
    expect(connection.send([Buffer.from('x')])).toBe(false);
  });

  it('closes when the queue passes its hard limit, and reports the high-water mark before', async () => {
    const transport = new TcpTransport({ highWaterBytes: 1000, lowWaterBytes: 100, queuedBytesMax: 5000 });
    const listener = await transport.listen('127.0.0.1:0', () => undefined);
    const connection = transport.connect(listener.address);
    const closed = Promise.withResolvers<Error | undefined>();
    connection.setHandlers({ onFrame: () => undefined, onClose: closed.resolve });
    expect(connection.send([Buffer.alloc(500)])).toBe(true);
    expect(connection.send([Buffer.alloc(1000)])).toBe(false);
    expect(connection.send([Buffer.alloc(5000)])).toBe(false);
    expect(await closed.promise).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await listener.close();
  });
});
