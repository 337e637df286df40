import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventEmitter, once } from 'node:events';
import { connect as connectHttp2, constants, type ServerHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';

import { createMetrics, type ProcessMetrics } from '@cairn/observability';
import { noopLogger, type Clock } from '@cairn/ports';
import { KVClient, KVService } from '@cairn/wire/gen/cairn/v1/kv.js';
import { credentials } from '@grpc/grpc-js';

import { ControlFrames } from './control-frames.js';
import { DoorRig, eventually } from './door-rig.testing.js';

let rig: DoorRig;
let metrics: ProcessMetrics;

beforeEach(async () => {
  metrics = createMetrics({ processMetrics: false });
  rig = await DoorRig.start({}, { metrics });
});

afterEach(async () => {
  await rig.close();
});

function frame(type: number, flags: number, stream: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);

const HEADERS = Buffer.concat([
  ...[Buffer.from([0x83, 0x86, 0x04]), text(KVService.get.path), Buffer.from([0x01]), text('x')],
  ...[Buffer.from([0x00]), text('content-type'), text('application/grpc'), Buffer.from([0x00])],
  ...[text('te'), text('trailers')],
]);
const REQUEST = (() => {
  const message = KVService.get.requestSerialize({ key: Buffer.from('k'), consistency: 0, timestamp: 0 });
  return Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
})();

const NOTHING = Buffer.alloc(0);
/** Goes into the table of headers, as its newest: 3,900 bytes. */
const LONG_HEADER = Buffer.concat([
  ...[Buffer.from([0x40]), text('x-a'), Buffer.from([0x7f, 0xbd, 0x1d]), Buffer.alloc(3_900, 'v')],
]);

const FRAMES = {
  settings: () => frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0xff, 0xff])),
  pings: () => frame(6, 0, 0, Buffer.alloc(8)),
  // Each names the same long header two hundred times, in a byte: the first of them brings it.
  headers: (at: number) =>
    frame(
      1,
      5,
      1 + 2 * at,
      Buffer.concat([HEADERS, at === 0 ? LONG_HEADER : NOTHING, Buffer.alloc(200, 0xbe)]),
    ),
  resets: (at: number) =>
    Buffer.concat([
      frame(1, 4, 1 + 2 * at, HEADERS),
      frame(0, 1, 1 + 2 * at, REQUEST),
      frame(3, 0, 1 + 2 * at, Buffer.from([0, 0, 0, 8])),
    ]),
};

async function dial(): Promise<Socket> {
  const [host, port] = rig.address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => undefined);
  socket.resume();
  await once(socket, 'connect');
  return socket;
}

/**
 * Sends so many frames, in pieces that are taken; answers once the router has closed, or has answered all.
 */
async function send(kind: keyof typeof FRAMES, count: number): Promise<Socket> {
  const socket = await dial();
  // With its word that it knows the limits: one that does not give it is closed for that after ten seconds.
  const preface = [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0), frame(4, 1, 0)];
  socket.write(Buffer.concat(preface));
  for (let sent = 0; sent < count && !socket.destroyed;) {
    const piece: Buffer[] = [];
    for (let end = Math.min(count, sent + 500); sent < end; sent += 1) piece.push(FRAMES[kind](sent));
    if (!socket.write(Buffer.concat(piece))) {
      // What is written to a connection that was just closed is an error, and no news.
      await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
    }
  }
  return socket;
}

const FLOODS = [
  ['settings', 500],
  ['pings', 100_000],
  ['resets', 500],
  ['headers', 100_000],
] as const;

describe('the budget of pings', () => {
  it('is for ten seconds each, and ends a session with a line and a count', () => {
    let nowMs = 0;
    const ended: unknown[] = [];
    const lines: unknown[] = [];
    const frames = new ControlFrames({
      clock: { nowMs: () => nowMs, setTimer: () => ({ cancel: () => undefined }) } as Partial<Clock> as Clock,
      logger: { ...noopLogger, warn: (_event, fields) => void lines.push(fields) },
      metrics,
    });
    const session = Object.assign(new EventEmitter(), {
      socket: { remoteAddress: '10.0.0.1', remotePort: 4711 },
      destroyed: false,
      destroy: (...given: unknown[]) => {
        session.destroyed = true;
        ended.push(given);
      },
    });
    frames.watch(session as unknown as ServerHttp2Session);
    for (let window = 0; window < 3; window += 1) {
      for (let at = 0; at < 50_000; at += 1) session.emit('ping');
      nowMs += 10_000;
    }
    expect([ended.length, frames.isRefused('10.0.0.1')]).toEqual([0, false]);
    for (let at = 0; at < 50_002; at += 1) session.emit('ping');
    expect(ended).toEqual([[undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM]]);
    expect(lines).toEqual([{ peer: '10.0.0.1', kind: 'pings', count: 50_001, withinMs: 10_000 }]);
    expect([frames.isRefused('10.0.0.1'), frames.isRefused('10.0.0.2')]).toEqual([true, false]);
    nowMs += 5_000;
    expect(frames.isRefused('10.0.0.1')).toBe(false);
  });
});

describe('a host that is refused after a flood', () => {
  it('is let in slowly while connections of it make calls, and not at all otherwise', () => {
    let nowMs = 0;
    const frames = new ControlFrames({
      clock: { nowMs: () => nowMs, setTimer: () => ({ cancel: () => undefined }) } as Partial<Clock> as Clock,
      logger: noopLogger,
      metrics,
    });
    const sessionOf = (remotePort: number) => {
      const session = Object.assign(new EventEmitter(), {
        socket: { remoteAddress: '10.0.0.1', remotePort },
        destroyed: false,
        destroy: () => {
          session.destroyed = true;
          session.emit('close');
        },
      });
      frames.watch(session as unknown as ServerHttp2Session);
      return session;
    };
    const admitted = (): number => {
      let count = 0;
      for (const endMs = nowMs + 2_000; nowMs < endMs; nowMs += 10) {
        if (!frames.isRefused('10.0.0.1')) count += 1;
      }
      return count;
    };
    const flood = (port: number): void => {
      const session = sessionOf(port);
      session.emit('stream', { session });
      for (let at = 0; at < 65; at += 1) session.emit('remoteSettings');
      expect(session.destroyed).toBe(true);
    };
    flood(1);
    expect(admitted()).toBe(0);
    const other = sessionOf(2);
    expect(admitted()).toBe(0);
    other.emit('stream', { session: other });
    flood(3);
    expect(frames.isRefused('10.0.0.1')).toBe(true);
    expect(admitted()).toBe(7);
    other.destroy();
    expect(admitted()).toBe(0);
  });
});

describe('a connection that does not acknowledge what it was told', () => {
  it('is closed after ten seconds: the limit of headers does not hold before', () => {
    const timers = new Map<number, () => void>();
    const frames = new ControlFrames({
      clock: {
        nowMs: () => 0,
        setTimer: (delayMs: number, callback: () => void) => {
          timers.set(delayMs, callback);
          return { cancel: () => timers.delete(delayMs) };
        },
      } as Partial<Clock> as Clock,
      logger: noopLogger,
      metrics,
    });
    const sessionOf = (remoteAddress: string) => {
      const session = Object.assign(new EventEmitter(), {
        socket: { remoteAddress, remotePort: 4711, bytesRead: 0 },
        destroyed: false,
        destroy: (_error: unknown, code: number) => {
          session.destroyed = true;
          session.emit('ended', code);
        },
      });
      frames.watch(session as unknown as ServerHttp2Session);
      return session;
    };
    sessionOf('10.0.0.1').emit('localSettings');
    expect(timers.has(10_000)).toBe(false);
    const codes: number[] = [];
    sessionOf('10.0.0.2').on('ended', (code: number) => codes.push(code));
    timers.get(10_000)?.();
    expect(codes).toEqual([constants.NGHTTP2_SETTINGS_TIMEOUT]);
    expect(frames.isRefused('10.0.0.2')).toBe(false);
  });
});

describe('a connection that sends frames without calls', () => {
  it.each(FLOODS)('is closed for a flood of %s, and its host is refused for a while', async (kind, count) => {
    const other = connectHttp2(`http://${rig.address}`);
    other.on('error', () => undefined);
    await once(other, 'remoteSettings');
    const socket = await send(kind, count);
    if (!socket.destroyed) await once(socket, 'close').catch(() => undefined);
    expect(await metrics.render()).toMatch(
      kind === 'pings' ? /floods_total\{kind="(pings|answers)"\} 1/ : `floods_total{kind="${kind}"} 1`,
    );
    const again = await dial().catch(() => undefined);
    if (again !== undefined && !again.destroyed) await once(again, 'close');
    expect(await metrics.render()).toContain(
      'cairn_router_refused_connections_total{reason="flood-before"} 1',
    );
    // Who was there before stays.
    await new Promise((resolve) => other.ping(resolve));
    expect(other.destroyed).toBe(false);
    other.destroy();
  });

  it('stays open with the pings and settings of a busy client', async () => {
    const other = connectHttp2(`http://${rig.address}`);
    await once(other, 'remoteSettings');
    for (let at = 0; at < 8; at += 1) other.settings({ initialWindowSize: 65_535 + at });
    for (let at = 0; at < 2_000; at += 1) {
      expect(await new Promise((resolve) => other.ping(resolve))).toBeNull();
    }
    expect(other.destroyed).toBe(false);
    other.destroy();
  });

  it('stays open when its application gives up many calls', async () => {
    rig.store.holdPrefix = 'slow';
    const client = new KVClient(rig.address, credentials.createInsecure());
    const get = (key: string): Promise<unknown> =>
      new Promise((resolve) => {
        client.get({ key: Buffer.from(key), consistency: 0, timestamp: 0 }, resolve);
      });
    await get('first');
    const over: Promise<unknown>[] = [];
    const calls = Array.from({ length: 900 }, (_, at) => {
      const done = Promise.withResolvers<unknown>();
      over.push(done.promise);
      return client.get({ key: Buffer.from(`slow${at}`), consistency: 0, timestamp: 0 }, done.resolve);
    });
    await eventually(() => rig.store.held.length === calls.length);
    for (const call of calls) call.cancel();
    await Promise.all(over);
    expect(await get('last')).toBeNull();
    expect(await metrics.render()).not.toContain('cairn_router_control_floods_total{');
    client.close();
  });
});
