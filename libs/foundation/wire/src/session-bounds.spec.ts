import { beforeEach, describe, expect, it } from '@jest/globals';
import { FRAME_BYTES_MAX, LogBudget, type Logger, noopLogger, noopMetrics } from '@cairn/ports';
import fc from 'fast-check';

import { checkedBody, frameHead } from './frame-checksum.js';
import { encodeHello } from './hello.js';
import { acceptLimitsFor, DEFAULT_ACCEPT_LIMITS, SessionAcceptor } from './session-acceptor.js';
import { HANDSHAKE_FRAME_BYTES_MAX } from './session.js';
import { FakeConnection, HandClock, HELLO } from './session-fakes.testing.js';
import { FrameType, type Session } from './session-types.js';

describe('a frame', () => {
  it('of which one bit is flipped is never taken for what was sent', () => {
    const body = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(body, fc.nat(), fc.constantFrom(1, 7, 9), (bytes, place, type) => {
        const parts = [bytes.subarray(0, bytes.length >> 1), bytes.subarray(bytes.length >> 1)];
        const frame = Buffer.concat([frameHead(type, parts), bytes]);
        checkedBody(frame);
        const bit = place % (frame.length * 8);
        frame[bit >> 3] = (frame[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(() => {
          checkedBody(frame);
        }).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
      }),
      { seed: 20_261_129, numRuns: 500 },
    );
  });

  it('that is cut is garbled, wherever', () => {
    const frame = Buffer.concat([
      frameHead(FrameType.kvRequests, [Buffer.from('body')]),
      Buffer.from('body'),
    ]);
    for (let length = 0; length < frame.length; length += 1) {
      expect(() => {
        checkedBody(frame.subarray(0, length));
      }).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
    }
  });
});

interface Line {
  readonly event: string;
  readonly count: unknown;
}

/** Sessions that come in at one node. */
class Node {
  readonly time = new HandClock();
  readonly lines: Line[] = [];
  readonly infos: string[] = [];
  readonly counts = new Map<string, number>();
  readonly gauges = new Map<string, number>();
  readonly sessions: Session[] = [];
  readonly closed: (Error | undefined)[] = [];
  readonly heard: string[] = [];
  readonly #collect: (() => void)[] = [];
  readonly acceptor: SessionAcceptor;

  constructor(limits = {}) {
    const logger: Logger = {
      ...noopLogger,
      info: (event) => void this.infos.push(event),
      warn: (event, fields) => void this.lines.push({ event, count: fields?.['count'] }),
    };
    this.acceptor = new SessionAcceptor({
      clock: this.time.clock,
      logger,
      limits,
      metrics: {
        ...noopMetrics,
        counter: (name) => ({
          add: (value) => void this.counts.set(name, (this.counts.get(name) ?? 0) + value),
        }),
        gauge: (name) => ({ set: (value) => void this.gauges.set(name, value) }),
        onCollect: (callback) => void this.#collect.push(callback),
      },
    });
  }

  connect(address = '10.0.0.1:4711'): FakeConnection {
    const peer = new FakeConnection(address);
    this.acceptor.accept(peer.connection, {
      hello: HELLO,
      onSession: (session) => {
        this.sessions.push(session);
        return {
          onFrame: (_type, body) => void this.heard.push(body.toString()),
          onClose: (error) => void this.closed.push(error),
        };
      },
    });
    return peer;
  }

  shaken(address?: string): FakeConnection {
    const peer = this.connect(address);
    peer.deliver(FrameType.hello, encodeHello(HELLO));
    return peer;
  }

  gauge(name: string): number | undefined {
    for (const callback of this.#collect) callback();
    return this.gauges.get(name);
  }
}

describe('a session that was accepted', () => {
  let node: Node;

  beforeEach(() => {
    node = new Node();
  });

  it('takes small frames only until it has shaken hands', () => {
    const peer = node.connect();
    expect(peer.frameBytesMax).toBe(HANDSHAKE_FRAME_BYTES_MAX);
    peer.deliver(FrameType.hello, encodeHello(HELLO));
    expect(peer.frameBytesMax).toBe(FRAME_BYTES_MAX);
  });

  it('refuses a hello with a name without end, and does not echo it', () => {
    const peer = node.connect();
    peer.deliver(FrameType.hello, encodeHello({ ...HELLO, name: 'n'.repeat(129) }));
    expect(peer.isClosed).toBe(true);
    expect(node.sessions).toEqual([]);
    const longest = node.connect();
    longest.deliver(FrameType.hello, encodeHello({ ...HELLO, name: 'n'.repeat(128) }));
    expect(node.sessions).toHaveLength(1);
  });

  it('whose hello is refused is no bad frame: the other side hears why', () => {
    const peer = node.connect();
    peer.deliver(FrameType.hello, encodeHello({ ...HELLO, clusterId: 'another' }));
    expect([peer.isClosed, peer.sent]).toEqual([true, [FrameType.refusal]]);
    expect(node.lines).toEqual([]);
    expect(node.infos).toEqual(['session refused']);
    expect(node.counts.get('cairn_connections_refused_total')).toBe(1);
    expect(node.counts.get('cairn_connections_without_handshake_total')).toBeUndefined();
  });

  it('ends with one line for a flipped bit, and nobody decodes the frame', () => {
    const peer = node.shaken();
    const body = Buffer.from('hello');
    peer.deliver(FrameType.kvRequests, body);
    const frame = Buffer.concat([frameHead(FrameType.kvRequests, [body]), body]);
    frame[7] = (frame[7] as number) ^ 16;
    peer.deliverRaw(frame);
    expect(node.heard).toEqual(['hello']);
    expect(node.closed).toEqual([expect.objectContaining({ code: 'UNAVAILABLE' })]);
    expect(node.lines.map(({ event }) => event)).toEqual(['session closed by a bad frame']);
    expect(node.counts.get('cairn_session_bad_frames_total')).toBe(1);
  });

  it('is not read from while its other side takes nothing, and is read from again when it does', () => {
    const peer = node.shaken();
    const [session] = node.sessions;
    session?.send(FrameType.kvResponses, []);
    expect(peer.isPaused).toBe(false);
    peer.isAboveHigh = true;
    session?.send(FrameType.kvResponses, []);
    session?.send(FrameType.kvResponses, []);
    expect(peer.isPaused).toBe(true);
    expect(node.counts.get('cairn_session_pauses_total')).toBe(1);
    peer.drain();
    expect(peer.isPaused).toBe(false);
  });

  it('lives while a slow side takes some of what waits for it, and ends when it takes nothing', () => {
    const peer = node.shaken();
    peer.isAboveHigh = true;
    peer.queuedBytes = 100;
    node.sessions[0]?.send(FrameType.kvResponses, []);
    for (let second = 0; second < 20; second += 1) {
      peer.queuedBytes -= 1;
      node.time.advance(1000);
    }
    expect(node.closed).toEqual([]);
    for (let second = 0; second < 8; second += 1) node.time.advance(1000);
    expect(node.closed).toEqual([expect.objectContaining({ code: 'UNAVAILABLE' })]);
  });
});

describe('the acceptor', () => {
  it('closes connections beyond its bounds at once, and takes more when others left', () => {
    const node = new Node({ connectionsMax: 3, unshakenMax: 2, unshakenPerHostMax: 2 });
    const silent = [node.connect(), node.connect()];
    expect(node.connect().isClosed).toBe(true);
    expect(node.gauge('cairn_connections_unshaken')).toBe(2);
    silent[0]?.deliver(FrameType.hello, encodeHello(HELLO));
    const third = node.connect();
    expect(third.isClosed).toBe(false);
    expect(node.connect().isClosed).toBe(true);
    expect(node.counts.get('cairn_connections_refused_total')).toBe(2);
    expect(node.gauge('cairn_sessions_open')).toBe(1);
    node.time.advance(3_001);
    expect(third.isClosed).toBe(true);
    expect(node.gauge('cairn_connections_unshaken')).toBe(0);
    expect(node.counts.get('cairn_connections_without_handshake_total')).toBe(2);
    expect(node.shaken().isClosed).toBe(false);
  });

  it('gives one host only a part of the places for connections that have not shaken hands', () => {
    const node = new Node({ unshakenPerHostMax: 2 });
    node.connect('10.0.0.1:1');
    node.connect('10.0.0.1:2');
    expect(node.connect('10.0.0.1:3').isClosed).toBe(true);
    expect(node.connect('10.0.0.2:1').isClosed).toBe(false);
  });

  it('gives one host only a part of all places, and takes more of it when some left', () => {
    const node = new Node({ connectionsPerHostMax: 2 });
    const first = node.shaken('10.0.0.1:1');
    node.shaken('10.0.0.1:2');
    expect(node.shaken('10.0.0.1:3').isClosed).toBe(true);
    expect(node.shaken('10.0.0.2:1').isClosed).toBe(false);
    first.end(new Error('gone'));
    expect(node.shaken('10.0.0.1:4').isClosed).toBe(false);
  });

  it('writes a few lines about 5,000 garbage frames, and counts them all', () => {
    const node = new Node();
    for (let at = 0; at < 5_000; at += 1) {
      node.connect().deliverRaw(Buffer.from('GET / HTTP/1.1'));
      node.shaken().deliverRaw(Buffer.from('garbage'));
    }
    node.time.advance(10_000);
    expect(node.counts.get('cairn_session_bad_frames_total')).toBe(10_000);
    expect(node.counts.get('cairn_connections_without_handshake_total')).toBe(5_000);
    expect(node.lines).toHaveLength(12);
    expect(node.lines.filter(({ count }) => count !== undefined).map(({ count }) => count)).toEqual([
      9_995, 4_995,
    ]);
  });
});

describe('the budget of a line', () => {
  it('writes the first of each interval, and says how many were left out', () => {
    const time = new HandClock();
    const lines: Line[] = [];
    const logger: Logger = {
      ...noopLogger,
      warn: (event, fields) => void lines.push({ event, count: fields?.['count'] }),
    };
    const budget = new LogBudget({
      clock: time.clock,
      logger,
      event: 'bad',
      linesPerInterval: 2,
      intervalMs: 100,
    });
    for (let at = 0; at < 5; at += 1) budget.write({});
    expect(lines).toHaveLength(2);
    time.advance(100);
    expect(lines.slice(2)).toEqual([{ event: 'bad: more of them', count: 3 }]);
    budget.write({});
    expect(lines).toHaveLength(4);
    time.advance(1_000);
    expect(lines).toHaveLength(4);
  });
});

describe('the bounds of connections', () => {
  it('leave half of the files that may be open to everything else', () => {
    expect(acceptLimitsFor()).toEqual(DEFAULT_ACCEPT_LIMITS);
    expect(acceptLimitsFor(10_000)).toEqual(DEFAULT_ACCEPT_LIMITS);
    expect(acceptLimitsFor(512)).toEqual({
      connectionsMax: 512,
      connectionsPerHostMax: 128,
      unshakenMax: 64,
      unshakenPerHostMax: 32,
    });
    // Less than this is no cluster.
    expect(acceptLimitsFor(10).connectionsPerHostMax).toBe(32);
  });
});
