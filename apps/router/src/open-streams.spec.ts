import { EventEmitter } from 'node:events';

import { beforeEach, describe, expect, it } from '@jest/globals';

import { createMetrics } from '@cairn/observability';
import { noopMetrics } from '@cairn/ports';
import { status, type ServerInterceptingCallInterface } from '@grpc/grpc-js';

import { OpenStreams, type OpenStream } from './open-streams.js';

const MIB = 1024 * 1024;

/** The server's end of a stream. */
class Stream extends EventEmitter {
  isClosed = false;

  close(): void {
    this.isClosed = true;
    this.emit('close');
  }
}

/** A call whose client has sent headers, and perhaps nothing else. */
class Call {
  readonly stream = new Stream();
  readonly opened: OpenStream | undefined;
  code: status | undefined;

  constructor(streams: OpenStreams, peer: string, headerBytes = 100) {
    this.opened = streams.open(peer, this as unknown as ServerInterceptingCallInterface, headerBytes);
  }

  sendStatus({ code }: { code: status }): void {
    this.code = code;
  }

  get isOpen(): boolean {
    return !this.stream.isClosed;
  }
}

describe('streams that are open', () => {
  let nowMs: number;
  const clock = { nowMs: (): number => nowMs };

  beforeEach(() => {
    nowMs = 0;
  });

  it('have one bound over all connections, by what they take: headers count', async () => {
    const metrics = createMetrics({ processMetrics: false });
    const streams = new OpenStreams(clock, metrics, 16 * MIB);
    const opened = Array.from({ length: 64 }, (_, peer) =>
      Array.from({ length: 1_000 }, () => new Call(streams, `peer${peer}`)),
    ).flat();
    const held = opened.filter(({ isOpen }) => isOpen);
    expect(held.length).toBeGreaterThan(1_500);
    expect(held.length).toBeLessThan(2_048);
    expect(opened.filter(({ code }) => code === status.RESOURCE_EXHAUSTED)).toHaveLength(
      opened.length - held.length,
    );
    expect(await metrics.render()).toContain(`cairn_router_open_calls ${held.length}`);
    for (const { stream } of held) stream.close();
    expect(await metrics.render()).toContain('cairn_router_open_call_bytes 0');
    const long = Array.from({ length: 1_000 }, () => new Call(streams, 'peer', 16 * 1024));
    expect(long.filter(({ isOpen }) => isOpen).length).toBeLessThan(220);
  });

  it('keep nobody out that comes later: those that say nothing end, of whoever has most', () => {
    const streams = new OpenStreams(clock, noopMetrics, 16 * MIB);
    const idle = new Call(streams, 'idle');
    nowMs = 1e8;
    const silent = Array.from({ length: 64 }, (_, peer) =>
      Array.from({ length: 1_000 }, () => new Call(streams, `silent${peer}`)),
    ).flat();
    const heldBefore = silent.filter(({ isOpen }) => isOpen).length;
    expect(new Call(streams, 'early').isOpen).toBe(false);
    nowMs += 1_000;
    for (let peer = 0; peer < 20; peer += 1) {
      const honest = new Call(streams, `honest${peer}`);
      expect(honest.isOpen).toBe(true);
      honest.opened?.heard(nowMs);
    }
    expect(silent.filter(({ isOpen }) => isOpen).length).toBeLessThan(heldBefore);
    // One stream that is quiet for a day holds little.
    expect(idle.isOpen).toBe(true);
  });

  it('of one connection are as many as clients open', () => {
    const streams = new OpenStreams(clock, noopMetrics);
    for (let peer = 0; peer < 8; peer += 1)
      for (let call = 0; call < 1_024; call += 1) expect(new Call(streams, `peer${peer}`).isOpen).toBe(true);
  });
});
