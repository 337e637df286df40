import { storeId } from '@cairn/base';
import {
  noopLogger,
  type Clock,
  type Connection,
  type ConnectionHandlers,
  type Transport,
} from '@cairn/ports';
import { beforeEach, describe, expect, it } from '@jest/globals';

import { encodeHello } from './hello.js';
import { openSession } from './session.js';
import { FrameType, type Hello, type Session } from './session-types.js';

const HELLO: Hello = {
  protocolVersion: 1,
  purpose: 'raft',
  clusterId: 'c',
  kind: 'shard',
  name: 'n',
  storeId: storeId(1),
};

/** Timers fire when the test says so. */
class HandClock {
  #timers: { atMs: number; callback: () => void; isLive: boolean }[] = [];
  nowMs = 0;

  readonly clock = {
    nowMs: () => this.nowMs,
    setTimer: (delayMs: number, callback: () => void) => {
      const timer = { atMs: this.nowMs + delayMs, callback, isLive: true };
      this.#timers.push(timer);
      return {
        cancel: () => {
          timer.isLive = false;
        },
      };
    },
  } as unknown as Clock;

  advance(byMs: number): void {
    this.nowMs += byMs;
    const due = this.#timers.filter(({ atMs, isLive }) => isLive && atMs <= this.nowMs);
    this.#timers = this.#timers.filter((timer) => !due.includes(timer));
    for (const { callback } of due) callback();
  }
}

describe('a session that was dialled', () => {
  let time: HandClock;
  let sent: number[];
  let closed: (Error | undefined)[];
  let handlers: ConnectionHandlers;
  let session: Session;
  let heard: FrameType[];

  const deliver = (type: FrameType, body: Uint8Array = Buffer.alloc(0)): void =>
    handlers.onFrame(Buffer.concat([Buffer.from([type]), body]));

  beforeEach(() => {
    time = new HandClock();
    [sent, closed, heard] = [[], [], []];
    const connection = {
      remoteAddress: 'peer:1',
      queuedBytes: 0,
      isOpen: true,
      setHandlers: (given: ConnectionHandlers) => {
        handlers = given;
      },
      send: (parts: readonly Uint8Array[]) => {
        sent.push(parts[0]?.[0] ?? 0);
        return true;
      },
      close: () => undefined,
    } as unknown as Connection;
    const transport = { connect: () => connection } as unknown as Transport;
    session = openSession({
      transport,
      address: 'peer:1',
      hello: HELLO,
      clock: time.clock,
      logger: noopLogger,
      handlers: { onFrame: (type) => heard.push(type), onClose: (error) => closed.push(error) },
    });
    deliver(FrameType.hello, encodeHello(HELLO));
    sent.length = 0;
  });

  it('asks for signs of life only while nothing comes', () => {
    for (let second = 0; second < 20; second += 1) {
      deliver(FrameType.raftMessages);
      time.advance(1_000);
    }
    expect(sent).toEqual([]);
    time.advance(1_000);
    expect(sent).toEqual([FrameType.ping]);
  });

  it('lives on answers alone, which nobody above hears of', () => {
    for (let second = 0; second < 20; second += 1) {
      time.advance(1_000);
      if (sent.at(-1) === FrameType.ping) deliver(FrameType.pong);
    }
    expect(closed).toEqual([]);
    expect(heard).toEqual([]);
    expect(session.isClosed).toBe(false);
  });

  it('ends when three of them stay without an answer', () => {
    // The hello counts as a sign of the first second.
    for (let second = 0; second < 4; second += 1) time.advance(1_000);
    expect(closed).toEqual([]);
    time.advance(1_000);
    expect(sent).toEqual([FrameType.ping, FrameType.ping, FrameType.ping]);
    expect(closed).toEqual([expect.objectContaining({ code: 'UNAVAILABLE' })]);
    expect(session.isClosed).toBe(true);
    time.advance(10_000);
    expect(sent).toHaveLength(3);
  });

  it('answers those of the other side', () => {
    deliver(FrameType.ping);
    expect(sent).toEqual([FrameType.pong]);
  });
});
