import { describe, expect, it } from '@jest/globals';

import { noopMetrics, type Clock } from '@cairn/ports';
import type { status, ServerInterceptingCallInterface } from '@grpc/grpc-js';

import { PartialMessages } from './partial-messages.js';

const MIB = 1024 * 1024;
const ANNOUNCED = 16 * MIB;

let nowMs = 0;
const clock = {
  nowMs: () => nowMs,
  setTimer: () => ({ cancel: () => undefined }),
} as unknown as Clock;

/** A call whose message comes in pieces. */
class Upload {
  readonly decoder = { readMessageSize: ANNOUNCED, readMessageRemaining: ANNOUNCED, readPartialMessage: [] };
  code: status | undefined;

  constructor(messages: PartialMessages, peer: string) {
    messages.watch(peer, this as unknown as ServerInterceptingCallInterface);
  }

  handleDataFrame(data: Buffer): void {
    this.decoder.readMessageRemaining -= data.length;
  }

  sendStatus({ code }: { code: status }): void {
    this.code = code;
  }

  /** Answers whether it was let in. */
  send(bytes: number): boolean {
    this.handleDataFrame(Buffer.allocUnsafe(bytes));
    return this.code === undefined;
  }
}

describe('messages that do not come whole', () => {
  it('keep nobody else from sending: of too many those end that have held most for longest', () => {
    nowMs = 0;
    const messages = new PartialMessages(clock, noopMetrics);
    const greedy: Upload[] = [];
    for (let peer = 0; peer < 256; peer += 1) {
      const upload = new Upload(messages, `evil${peer}`);
      expect(upload.send(MIB / 2)).toBe(true);
      greedy.push(upload);
    }
    const held = (): number => greedy.filter(({ code }) => code === undefined).length;
    const before = held();
    // Nobody is behind yet, and there is no room.
    expect(new Upload(messages, 'early').send(16 * 1024)).toBe(false);
    nowMs = 1_000;
    const honest = new Upload(messages, 'honest');
    for (let sent = 0; sent < 8; sent += 1) expect(honest.send(16 * 1024)).toBe(true);
    expect(held()).toBeLessThan(before);
    // Whoever has a little is not asked to go while others have much.
    nowMs = 60_000;
    for (let peer = 0; peer < 20; peer += 1)
      expect(new Upload(messages, `late${peer}`).send(16 * 1024)).toBe(true);
    expect(honest.code).toBeUndefined();
  });

  it('have a floor for every connection while others hold much', () => {
    nowMs = 0;
    const messages = new PartialMessages(clock, noopMetrics);
    // Their messages are of the same age, and nobody has waited for long.
    for (let peer = 0; peer < 6; peer += 1) {
      const uploads = Array.from({ length: 8 }, () => new Upload(messages, `evil${peer}`));
      for (const upload of uploads) while (upload.decoder.readMessageRemaining > MIB && upload.send(MIB));
    }
    for (let peer = 0; peer < 24; peer += 1) {
      const upload = new Upload(messages, `honest${peer}`);
      for (let sent = 0; sent < 64; sent += 1) expect(upload.send(16 * 1024)).toBe(true);
    }
  });
});
