import { CairnError, InvariantError, rangeId, replicaId, storeId, term } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { noopMetrics } from '@cairn/ports';
import type { Message } from '@cairn/raft';
import { RaftMessageEncoder } from '@cairn/raft-wire';

import { ENTRY_FORMAT } from './entry-format.js';
import { InboundQueue, type DrainBudget } from './inbound.js';
import { StoreMetrics } from './store-metrics.js';

const BIG_BUDGET: DrainBudget = { bytesMax: 1e9, endsAtMs: 1, nowMs: () => 0 };

function timeoutNow(number: number): Message {
  return { type: 'timeout-now', from: replicaId(1), to: replicaId(2), term: term(number) };
}

function frameOf(...terms: readonly number[]): Buffer {
  const encoder = new RaftMessageEncoder(ENTRY_FORMAT);
  for (const number of terms) encoder.add(rangeId(7), timeoutNow(number), undefined);
  return Buffer.concat(encoder.take());
}

/** Whoever takes the messages says so. */
const IMPLAUSIBLE_TERM = 100_000;

class Inbound {
  readonly queue: InboundQueue;
  readonly dropped: unknown[] = [];
  readonly errors: CairnError[] = [];
  readonly delivered: number[] = [];
  readonly good;
  readonly bad;

  constructor(inboundBytesMax = 1_000_000) {
    const counter = { add: (_: number, labels?: unknown) => void this.dropped.push(labels) };
    const metrics = new StoreMetrics({ ...noopMetrics, counter: () => counter });
    this.queue = new InboundQueue({ inboundBytesMax }, metrics);
    const fail = (error: CairnError): void => void this.errors.push(error);
    this.good = this.queue.source(storeId(1), fail);
    this.bad = this.queue.source(storeId(2), fail);
  }

  drain(budget: DrainBudget = BIG_BUDGET): void {
    this.queue.drain(budget, (_from, _range, message) => {
      if (message.term === IMPLAUSIBLE_TERM) return new CairnError('CORRUPTION', 'nobody sent this');
      this.delivered.push(message.term);
      return undefined;
    });
  }
}

describe('the inbound queue of a store', () => {
  it('delivers nothing behind a message that no member can have sent, and ends the session it came by', () => {
    const inbound = new Inbound();
    inbound.queue.push(inbound.bad, frameOf(1, IMPLAUSIBLE_TERM, 3));
    inbound.queue.push(inbound.bad, frameOf(4));
    inbound.queue.push(inbound.good, frameOf(5, 6));
    inbound.drain();
    expect(inbound.errors.map((error) => error.message)).toEqual(['nobody sent this']);
    expect(inbound.delivered).toEqual([1, 5, 6]);
    expect([inbound.bad.waiting.used, inbound.queue.hasWaiting]).toEqual([0, false]);
  });

  it('delivers nothing of a frame that cannot be read to its end, and ends the session it came by', () => {
    const inbound = new Inbound();
    inbound.queue.push(inbound.bad, frameOf(1, 2, 3).subarray(0, -1));
    inbound.queue.push(inbound.bad, frameOf(4));
    inbound.queue.push(inbound.good, frameOf(5, 6));
    inbound.drain();
    expect(inbound.errors.map((error) => error.code)).toEqual(['CORRUPTION']);
    expect(inbound.delivered).toEqual([5, 6]);
    expect([inbound.good.waiting.used, inbound.bad.waiting.used, inbound.queue.hasWaiting]).toEqual([
      0,
      0,
      false,
    ]);
  });

  it('lets an assertion of the core out instead of taking it for a garbled frame', () => {
    const inbound = new Inbound();
    inbound.queue.push(inbound.good, frameOf(1, 2));
    expect(() => {
      inbound.queue.drain(BIG_BUDGET, () => {
        throw new InvariantError('committed entries are lost');
      });
    }).toThrow('committed entries are lost');
    expect(inbound.errors).toEqual([]);
  });

  it('works off what the bytes of a turn allow, and keeps the rest in order', () => {
    const inbound = new Inbound();
    const frame = frameOf(1, 2);
    for (let at = 0; at < 3; at += 1) inbound.queue.push(inbound.good, frameOf(at * 2 + 1, at * 2 + 2));
    inbound.drain({ ...BIG_BUDGET, bytesMax: frame.length + 1 });
    expect(inbound.delivered).toEqual([1, 2, 3, 4]);
    expect([inbound.queue.hasWaiting, inbound.good.waiting.used]).toEqual([true, frame.length]);
    inbound.drain({ ...BIG_BUDGET, bytesMax: frame.length + 1 });
    expect(inbound.delivered).toEqual([1, 2, 3, 4, 5, 6]);
    expect(inbound.queue.hasWaiting).toBe(false);
  });

  it('stops inside a frame when the time of a turn is over, and goes on behind that place', () => {
    const inbound = new Inbound();
    const terms = Array.from({ length: 100 }, (_, at) => at);
    inbound.queue.push(inbound.good, frameOf(...terms));
    let nowMs = 0;
    const hasty: DrainBudget = { bytesMax: 1e9, endsAtMs: 0, nowMs: () => (nowMs += 1) };
    inbound.drain(hasty);
    expect(inbound.delivered.length).toBe(32);
    expect(inbound.queue.hasWaiting).toBe(true);
    for (let turn = 0; turn < 3; turn += 1) inbound.drain(hasty);
    expect(inbound.delivered).toEqual(terms);
    expect([inbound.queue.hasWaiting, inbound.good.waiting.used]).toEqual([false, 0]);
  });

  it('lets a frame through that is longer than the share of a source, alone', () => {
    const frame = frameOf(1, 2, 3, 4);
    const inbound = new Inbound(frame.length + 1);
    expect(inbound.queue.push(inbound.bad, frame)).toBe(true);
    expect(inbound.queue.push(inbound.bad, frame)).toBe(false);
    inbound.drain();
    expect(inbound.delivered).toEqual([1, 2, 3, 4]);
  });

  it('drops what one source sends beyond its share, and leaves the others their place', () => {
    const frame = frameOf(1);
    const inbound = new Inbound(frame.length * 8);
    const pushed = Array.from({ length: 4 }, () => inbound.queue.push(inbound.bad, frame));
    expect(pushed).toEqual([true, true, false, false]);
    expect(inbound.queue.push(inbound.good, frame)).toBe(true);
    expect(inbound.dropped).toEqual([{ reason: 'inbound-full' }, { reason: 'inbound-full' }]);
    inbound.drain();
    expect(inbound.queue.push(inbound.bad, frame)).toBe(true);
  });
});
