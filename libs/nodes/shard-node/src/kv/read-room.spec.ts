import { BoundedBytes, storeId } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { KvOp, newKvRequest, type KvResponse } from '@cairn/wire';

import { KvCall, type ResponseSink } from './kv-call.js';
import { ManualClock } from './kv-rig.testing.js';
import { LaggingSessions } from './lagging-sessions.js';
import { ReadRoom } from './read-room.js';

const MIB = 1024 * 1024;
const TIMEOUT_MS = 1_000;

class Caller implements ResponseSink {
  readonly name: string;
  isTaking = true;
  readonly reading = new BoundedBytes({ name: 'rows', limit: Infinity });
  readonly codes: (string | undefined)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  send({ error }: KvResponse): void {
    this.codes.push(error?.code);
  }

  hasRoomFor(): boolean {
    return this.isTaking;
  }

  hasRoomForPage(): boolean {
    return this.isTaking;
  }
}

class Reads {
  readonly clock = new ManualClock();
  readonly room: ReadRoom;
  /** Who reads, in the order in which they got room. */
  readonly begun: string[] = [];
  /** Most bytes that were held at any time. */
  peakBytes = 0;
  readonly #calls: KvCall[] = [];

  constructor(readBytesMax: number) {
    this.room = new ReadRoom(this.clock, { readBytesMax }, new LaggingSessions(this.clock));
  }

  ask(caller: Caller, op: KvOp = KvOp.get): KvCall {
    const call = new KvCall({ ...newKvRequest(), op }, caller, this.clock.nowMs() + TIMEOUT_MS);
    this.submit(call);
    return call;
  }

  submit(call: KvCall): void {
    if (!this.room.admits(call, this)) return;
    this.begun.push((call.caller as Caller).name);
    this.room.reading(call);
    this.#look();
    this.#calls.push(call);
  }

  /** The first of those that are read is there, and answered. */
  answer(valueBytes: number): void {
    const call = this.#calls.shift();
    if (call === undefined) throw new Error('nobody reads');
    this.room.read(call, valueBytes);
    this.#look();
    call.respond(call.newResponse());
  }

  #look(): void {
    this.peakBytes = Math.max(this.peakBytes, this.room.heldBytes);
  }

  /** Reads of rows of this size went before. */
  learn(valueBytes: number): void {
    for (let count = 0; count < 100; count += 1) {
      this.ask(new Caller('before'));
      this.answer(valueBytes);
    }
    this.begun.length = 0;
  }
}

describe('room for rows that are read', () => {
  it('is for few rows of unknown size, and for more when they turn out to be small', () => {
    const reads = new Reads(8 * MIB);
    const one = new Caller('one');
    for (let count = 0; count < 1_000; count += 1) reads.ask(one);
    expect(reads.begun).toHaveLength(4);
    for (let count = 0; count < 100; count += 1) reads.answer(100);
    expect(reads.begun.length).toBeGreaterThan(104);
    while (reads.room.heldBytes > 0) reads.answer(100);
    expect(reads.begun).toHaveLength(1_000);
    expect(reads.room.waitingCount).toBe(0);
  });

  it('goes to callers in turn, and leaves some for those that come later', () => {
    const reads = new Reads(8 * MIB);
    reads.learn(2 * MIB);
    const [one, two] = [new Caller('one'), new Caller('two')];
    for (let count = 0; count < 6; count += 1) reads.ask(one);
    for (let count = 0; count < 6; count += 1) reads.ask(two);
    expect(reads.begun).toEqual(['one', 'one', 'two']);
    for (let count = 0; count < 12; count += 1) reads.answer(2 * MIB);
    expect(reads.begun.filter((name) => name === 'one')).toHaveLength(6);
    expect(reads.begun.slice(0, 9).filter((name) => name === 'two').length).toBeGreaterThanOrEqual(4);
    expect(reads.peakBytes).toBeLessThan(9 * MIB);
    expect(reads.room.heldBytes).toBe(0);
  });

  it('is had by one row at a time when that is larger than all of it', () => {
    const reads = new Reads(MIB);
    const one = new Caller('one');
    reads.learn(8 * MIB);
    for (let count = 0; count < 3; count += 1) reads.ask(one);
    expect(reads.begun).toHaveLength(1);
    for (let count = 0; count < 3; count += 1) reads.answer(8 * MIB);
    expect(one.codes).toEqual([undefined, undefined, undefined]);
  });

  it('is not for callers that take no answers, until they do; their commands go on', async () => {
    const reads = new Reads(8 * MIB);
    const deaf = new Caller('deaf');
    deaf.isTaking = false;
    reads.ask(deaf);
    reads.ask(deaf);
    reads.ask(new Caller('other'));
    expect(reads.begun).toEqual(['other']);
    await reads.clock.advance(50);
    expect(reads.begun).toEqual(['other']);
    deaf.isTaking = true;
    await reads.clock.advance(10);
    expect(reads.begun).toEqual(['other', 'deaf', 'deaf']);
    deaf.isTaking = false;
    while (reads.room.heldBytes > 0) reads.answer(MIB);
    reads.ask(deaf, KvOp.increment);
    expect(reads.begun).toHaveLength(4);
  });

  it('is found by commands though gets of the same caller wait for its answers to be taken', () => {
    const reads = new Reads(8 * MIB);
    const one = new Caller('one');
    one.isTaking = false;
    for (let count = 0; count < 20; count += 1) reads.ask(one);
    expect(reads.begun).toEqual([]);
    reads.ask(one, KvOp.increment);
    expect(reads.begun).toEqual(['one']);
    // And those that wait for room of their own get it.
    for (let count = 0; count < 20; count += 1) reads.ask(one, KvOp.increment);
    for (let count = 0; count < 20; count += 1) reads.answer(MIB);
    expect(reads.begun).toHaveLength(21);
  });

  it('is waited for until the deadline', async () => {
    const reads = new Reads(8 * MIB);
    const deaf = new Caller('deaf');
    deaf.isTaking = false;
    reads.ask(deaf);
    reads.ask(deaf).isCancelled = true;
    await reads.clock.advance(TIMEOUT_MS + 200);
    expect(deaf.codes).toEqual(['DEADLINE_EXCEEDED']);
    expect(reads.room.waitingCount).toBe(0);
  });

  it('is no longer waited for by a caller that is gone, and what it read is given back', () => {
    const reads = new Reads(2 * MIB);
    const gone = new Caller('gone');
    for (let count = 0; count < 3; count += 1) reads.ask(gone);
    reads.room.forget(gone);
    expect(gone.codes).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
    reads.answer(MIB);
    expect([reads.room.heldBytes, reads.room.waitingCount, gone.reading.used]).toEqual([0, 0, 0]);
  });

  it('is given to the next when a call that was let in is refused where it goes, however many are', () => {
    const reads = new Reads(MIB);
    const one = new Caller('one');
    reads.ask(one);
    const refusing = {
      submit: (call: KvCall): void => {
        call.failNotLeader(storeId(2));
      },
    };
    for (let count = 0; count < 20_000; count += 1) {
      const call = new KvCall({ ...newKvRequest(), op: KvOp.get }, one, reads.clock.nowMs() + TIMEOUT_MS);
      expect(reads.room.admits(call, refusing)).toBe(false);
    }
    reads.answer(MIB);
    expect(one.codes).toHaveLength(20_001);
    expect([reads.room.heldBytes, reads.room.waitingCount]).toEqual([0, 0]);
  });

  it('keeps of the frame of a call that waits only what is its own', () => {
    const reads = new Reads(8 * 1024 * 1024);
    const one = new Caller('one');
    one.isTaking = false;
    const frame = Buffer.alloc(1024 * 1024, 'k');
    const call = new KvCall(
      { ...newKvRequest(), op: KvOp.get, key: frame.subarray(7, 20) },
      one,
      reads.clock.nowMs() + TIMEOUT_MS,
    );
    expect(reads.room.admits(call, reads)).toBe(false);
    expect(call.request.key).toEqual(Buffer.alloc(13, 'k'));
    expect(call.request.key.buffer.byteLength).toBeLessThanOrEqual(64 * 1024);
  });
});
