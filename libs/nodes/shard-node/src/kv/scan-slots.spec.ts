import { BoundedBytes } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { KvOp, newKvRequest, type KvRequest, type KvResponse } from '@cairn/wire';

import { KvCall, type ResponseSink } from './kv-call.js';
import { ManualClock, settle } from './kv-rig.testing.js';
import { LaggingSessions } from './lagging-sessions.js';
import { ScanSlots } from './scan-slots.js';

const PAGE_BYTES = 1_000;

class Caller implements ResponseSink {
  /** What it takes beyond what is on its way to it already. */
  room = Infinity;
  readonly reading = new BoundedBytes({ name: 'rows', limit: Infinity });
  readonly codes: (string | undefined)[] = [];

  send({ error }: KvResponse): void {
    this.codes.push(error?.code);
  }

  hasRoomFor(): boolean {
    return true;
  }

  hasRoomForPage(bytes: number): boolean {
    return bytes <= this.room;
  }
}

class Scans {
  readonly clock = new ManualClock();
  readonly slots: ScanSlots;
  readonly begun: string[] = [];
  readonly calls: KvCall[] = [];
  readonly #ends: (() => void)[] = [];

  constructor(scansMax: number, waitingScansMax: number) {
    this.slots = new ScanSlots(this.clock, { scansMax, waitingScansMax }, new LaggingSessions(this.clock));
  }

  run(caller: Caller, name: string, timeoutMs = 10_000, more: Partial<KvRequest> = {}): boolean {
    const request = { ...newKvRequest(), op: KvOp.scan, pageBytes: PAGE_BYTES, ...more };
    const call = new KvCall(request, caller, this.clock.nowMs() + timeoutMs);
    this.calls.push(call);
    return this.slots.run(call, () => {
      this.begun.push(name);
      return new Promise((resolve) => {
        this.#ends.push(resolve);
      });
    });
  }

  async endOne(): Promise<void> {
    this.#ends.shift()?.();
    await settle();
  }
}

describe('slots for scans', () => {
  it('leave room in the line for callers that come later', () => {
    const scans = new Scans(1, 16);
    const [greedy, late, later] = [new Caller(), new Caller(), new Caller()];
    scans.run(greedy, 'runs');
    const taken = Array.from({ length: 100 }, () => scans.run(greedy, 'g')).filter(Boolean).length;
    expect(taken).toBe(8);
    expect(Array.from({ length: 100 }, () => scans.run(late, 'l')).filter(Boolean).length).toBe(4);
    expect(scans.run(later, 'x')).toBe(true);
    expect(scans.slots.waitingCount).toBe(13);
  });

  it('leave some places in the line for each of many callers, whatever others wait with', () => {
    const scans = new Scans(1, 1_024);
    scans.run(new Caller(), 'runs');
    const taken = Array.from({ length: 30 }, () => {
      const caller = new Caller();
      return Array.from({ length: 600 }, () => scans.run(caller, 's')).filter(Boolean).length;
    });
    expect(taken).toEqual([512, 256, ...Array<number>(28).fill(8)]);
  });

  it('serve callers in turn, whoever waits with how many', async () => {
    const scans = new Scans(1, 100);
    const [greedy, late] = [new Caller(), new Caller()];
    for (const name of ['g0', 'g1', 'g2', 'g3']) scans.run(greedy, name);
    scans.run(late, 'l1');
    scans.run(late, 'l2');
    for (let at = 0; at < 6; at += 1) await scans.endOne();
    expect(scans.begun).toEqual(['g0', 'g1', 'l1', 'g2', 'l2', 'g3']);
    expect(scans.slots.waitingCount).toBe(0);
  });

  it('are not for callers that take no answers, and those are served once they do', async () => {
    const scans = new Scans(2, 100);
    const [deaf, other] = [new Caller(), new Caller()];
    deaf.room = 0;
    for (const name of ['d1', 'd2', 'd3']) scans.run(deaf, name);
    for (const name of ['o1', 'o2', 'o3']) scans.run(other, name);
    for (let at = 0; at < 3; at += 1) await scans.endOne();
    await scans.clock.advance(100);
    expect(scans.begun).toEqual(['o1', 'o2', 'o3']);
    deaf.room = Infinity;
    await scans.clock.advance(20);
    expect(scans.begun.slice(3)).toEqual(['d1', 'd2']);
  });

  it('count what the running scans of a caller may add to what waits for it', async () => {
    const scans = new Scans(8, 100);
    const slow = new Caller();
    slow.room = 2 * PAGE_BYTES;
    for (const name of ['s1', 's2', 's3']) scans.run(slow, name);
    expect(scans.begun).toEqual(['s1', 's2']);
    await scans.endOne();
    expect(scans.begun).toEqual(['s1', 's2', 's3']);
  });

  it('are waited for until the deadline, also by one whose turn never comes', async () => {
    const scans = new Scans(2, 100);
    const deaf = new Caller();
    deaf.room = 0;
    scans.run(deaf, 'short', 50);
    scans.run(deaf, 'long', 5_000);
    await scans.clock.advance(100);
    expect(deaf.codes).toEqual(['DEADLINE_EXCEEDED']);
    expect(scans.slots.waitingCount).toBe(1);
  });

  it('are no longer waited for by a caller that is gone', async () => {
    const scans = new Scans(1, 100);
    const [gone, other] = [new Caller(), new Caller()];
    for (const name of ['g1', 'g2', 'g3']) scans.run(gone, name);
    scans.run(other, 'o1');
    scans.slots.forget(gone);
    expect(scans.slots.waitingCount).toBe(1);
    expect(scans.calls.map(({ isDone }) => isDone)).toEqual([false, true, true, false]);
    await scans.endOne();
    expect(scans.begun).toEqual(['g1', 'o1']);
  });

  it('keep of the frame of a scan that waits only what is its own', () => {
    const scans = new Scans(1, 16);
    const caller = new Caller();
    caller.room = 0;
    const frame = Buffer.alloc(1024 * 1024, 'k');
    scans.run(caller, 'waits', 10_000, { key: frame.subarray(0, 3), endKey: frame.subarray(5, 9) });
    const { key, endKey } = (scans.calls[0] as KvCall).request;
    expect([key, endKey].map(String)).toEqual(['kkk', 'kkkk']);
    for (const { buffer } of [key, endKey]) expect(buffer.byteLength).toBeLessThanOrEqual(64 * 1024);
  });
});
