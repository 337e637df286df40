import { connect } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import type { Connection } from '@cairn/ports';
import { FrameParser } from './frame-parser.js';
import { parseAddress, TcpTransport } from './tcp-transport.js';

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
      const parser = new FrameParser((frame) => found.push(frame));
      for (let at = 0; at < stream.length; at += step) {
        expect(parser.push(stream.subarray(at, at + step))).toBeUndefined();
      }
      expect(found).toEqual(bodies);
    }
  });

  it('assembles a frame larger than its first allocation', () => {
    const body = Buffer.alloc(5 * 1024 * 1024 + 3, 9);
    body[body.length - 1] = 1;
    const stream = framed(body);
    const found: Buffer[] = [];
    const parser = new FrameParser((frame) => found.push(frame));
    for (let at = 0; at < stream.length; at += 65_536) parser.push(stream.subarray(at, at + 65_536));
    expect(found).toHaveLength(1);
    expect(found[0]?.equals(body)).toBe(true);
  });
});

describe('TcpTransport', () => {
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
