import { beforeEach, describe, expect, it } from '@jest/globals';

import { Holder } from './holders.js';
import { SharedRoom } from './shared-room.js';

describe('SharedRoom', () => {
  let nowMs: number;
  let room: SharedRoom;
  let cut: string[];

  class Message extends Holder {
    readonly caller: string;

    constructor(caller: string) {
      super();
      this.caller = caller;
    }

    cutOff(): void {
      cut.push(this.caller);
      room.release(this);
    }
  }

  beforeEach(() => {
    nowMs = 0;
    cut = [];
    room = new SharedRoom({ name: 'messages', limit: 1_024 }, () => nowMs);
  });

  function message(caller: string, bytes: number): Message {
    const one = new Message(caller);
    expect(room.tryTake(one, bytes)).toBe(true);
    return one;
  }

  it('counts what holders and callers have, also as they grow, and once when it comes back', () => {
    const [one, other] = [message('a', 100), message('b', 50)];
    expect(room.tryTake(one, 200)).toBe(true);
    expect([one.heldBytes, room.used, room.count]).toEqual([300, 350, 2]);
    room.release(one);
    room.release(one);
    expect([one.heldBytes, room.used, room.count]).toEqual([0, 50, 1]);
    room.release(other);
    expect([room.used, room.count]).toEqual([0, 0]);
  });

  it('shares out by caller, however many holders one has, and changes nothing for who is refused', () => {
    message('a', 256);
    const second = message('a', 256);
    expect(room.tryTake(new Message('a'), 100)).toBe(false);
    expect(room.tryTake(second, 100)).toBe(false);
    expect([second.heldBytes, room.used]).toEqual([256, 512]);
    expect(room.refusal(100).message).toContain('messages: 512 of 1024 bytes');
    message('b', 200);
  });

  it('ends the caller that has held most for longest when somebody finds no room', () => {
    message('a', 500);
    message('b', 200);
    message('c', 60);
    nowMs = 2_000;
    // The reserve is for who has nothing yet.
    message('d', 200);
    expect(cut).toEqual([]);
    message('e', 100);
    expect([cut, room.ended, room.used]).toEqual([['a'], 1, 560]);
  });

  it('does not end whom it spares: small callers, and those that are done soon', () => {
    room = new SharedRoom({ name: 'messages', limit: 1_024, sparedBytes: 300 }, () => nowMs);
    message('a', 300);
    room.spare(message('b', 400));
    message('c', 300);
    nowMs = 20_000;
    expect(room.tryTake(new Message('d'), 100)).toBe(false);
    expect(cut).toEqual([]);
  });
});
