import { noopLogger, type Transport } from '@cairn/ports';
import { beforeEach, describe, expect, it } from '@jest/globals';

import { encodeHello } from './hello.js';
import { acceptSession, openSession } from './session.js';
import { FakeConnection, HandClock, HELLO } from './session-fakes.testing.js';
import { FrameType, type Session } from './session-types.js';

describe('a session that was dialled', () => {
  let time: HandClock;
  let peer: FakeConnection;
  let closed: (Error | undefined)[];
  let session: Session;
  let heard: FrameType[];
  let sent: number[];

  const deliver = (type: FrameType): void => {
    peer.deliver(type);
  };

  beforeEach(() => {
    time = new HandClock();
    peer = new FakeConnection();
    [closed, heard, sent] = [[], [], peer.sent];
    session = openSession({
      transport: { connect: () => peer.connection } as unknown as Transport,
      address: 'peer:1',
      hello: HELLO,
      clock: time.clock,
      logger: noopLogger,
      handlers: { onFrame: (type) => heard.push(type), onClose: (error) => closed.push(error) },
    });
    peer.deliver(FrameType.hello, encodeHello(HELLO));
    sent.length = 0;
  });

  it('asks every second, and lives on answers alone, which nobody above hears of', () => {
    for (let second = 0; second < 20; second += 1) {
      time.advance(1_000);
      deliver(FrameType.pong);
    }
    expect(sent).toEqual(Array.from({ length: 20 }, () => FrameType.ping));
    expect(closed).toEqual([]);
    expect(heard).toEqual([]);
    expect(session.isClosed).toBe(false);
  });

  it('ends after three silent seconds', () => {
    // The hello counts as a sign of the first second.
    for (let second = 0; second < 4; second += 1) time.advance(1_000);
    expect(closed).toEqual([]);
    time.advance(1_000);
    expect(closed).toEqual([expect.objectContaining({ code: 'UNAVAILABLE' })]);
    expect(session.isClosed).toBe(true);
    time.advance(10_000);
    expect(sent).toHaveLength(4);
  });

  it('lives on the bytes of a long frame that comes slowly', () => {
    for (let second = 0; second < 20; second += 1) {
      peer.receivedBytes += 100_000;
      time.advance(1_000);
    }
    expect(closed).toEqual([]);
    for (let second = 0; second < 5; second += 1) time.advance(1_000);
    expect(closed).toHaveLength(1);
  });

  it('answers the questions of the other side', () => {
    deliver(FrameType.ping);
    expect(sent).toEqual([FrameType.pong]);
  });
});

describe('a session that was accepted', () => {
  it('ends after five silent seconds, and asks nothing itself', () => {
    const time = new HandClock();
    const peer = new FakeConnection();
    const closed: (Error | undefined)[] = [];
    acceptSession(peer.connection, {
      hello: HELLO,
      clock: time.clock,
      logger: noopLogger,
      onSession: () => ({ onFrame: () => undefined, onClose: (error) => closed.push(error) }),
    });
    peer.deliver(FrameType.hello, encodeHello(HELLO));
    for (let second = 0; second < 20; second += 1) {
      peer.deliver(FrameType.ping);
      time.advance(1_000);
    }
    expect(new Set(peer.sent.slice(1))).toEqual(new Set([FrameType.pong]));
    for (let second = 0; second < 5; second += 1) time.advance(1_000);
    expect(closed).toEqual([]);
    time.advance(1_000);
    expect(closed).toEqual([expect.objectContaining({ code: 'UNAVAILABLE' })]);
  });

  it('answers a few pings of a second, and ends at a flood of them', () => {
    const time = new HandClock();
    const peer = new FakeConnection();
    const closed: (Error | undefined)[] = [];
    acceptSession(peer.connection, {
      hello: HELLO,
      clock: time.clock,
      logger: noopLogger,
      onSession: () => ({ onFrame: () => undefined, onClose: (error) => closed.push(error) }),
    });
    peer.deliver(FrameType.hello, encodeHello(HELLO));
    peer.sent.length = 0;
    for (let second = 0; second < 3; second += 1) {
      for (let at = 0; at < 1_000; at += 1) peer.deliver(FrameType.ping);
      time.advance(1_000);
    }
    expect(peer.sent).toHaveLength(12);
    expect(closed).toEqual([]);
    for (let at = 0; at < 5_000; at += 1) peer.deliver(at % 2 === 0 ? FrameType.ping : FrameType.pong);
    expect(closed).toEqual([expect.objectContaining({ message: expect.stringContaining('1000 pings') })]);
    expect(peer.isClosed).toBe(true);
  });
});
