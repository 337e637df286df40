import { describe, expect, it } from '@jest/globals';

import { Holder } from '@cairn/base';
import { Callers, type Caller } from './callers.js';

const MIB = 2 ** 20;
const make = (nowMs = (): number => 0): Callers =>
  new Callers(
    {
      streamedOpsMax: 8_192,
      openOpsMax: 65_536,
      openBytesMax: 256 * MIB,
      scanBytesMax: 64 * MIB,
      answerBytesMax: 128 * MIB,
    },
    nowMs,
  );

/** A stream of a caller, which takes what it can get of values of one size. */
class Stream extends Holder {
  readonly caller: Caller;
  readonly #callers: Callers;
  #values = 0;
  isCut = false;

  constructor(callers: Callers, peer: string) {
    super();
    this.#callers = callers;
    this.caller = callers.enter(peer);
    callers.answerHolders.add(this);
  }

  take(bytes: number): boolean {
    if (!this.caller.takeAnswer(bytes, this)) return false;
    this.heldSinceMs = Math.min(this.heldSinceMs, this.#callers.answerHolders.nowMs());
    this.heldBytes += bytes;
    this.#values += 1;
    return true;
  }

  takeAll(bytes: number): this {
    while (this.take(bytes));
    return this;
  }

  cutOff(): void {
    this.isCut = true;
    this.end();
  }

  end(): void {
    this.#callers.answerHolders.remove(this);
    this.caller.giveAnswers(this.heldBytes, this.#values);
    this.#callers.leave(this.caller);
  }
}

describe('the share of a caller', () => {
  it('follows the number of those that have something open on streams, down to what everybody may have', () => {
    const callers = make();
    const first = callers.enter('a');
    expect(first.opsPerStream).toBe(8_192);
    first.streamChanged(true);
    expect(first.opsPerStream).toBe(8_192);
    const others = Array.from({ length: 7 }, (_, at) => callers.enter(`b${at}`));
    for (const other of others) other.streamChanged(true);
    expect(first.opsPerStream).toBe(1_024);
    for (let at = 0; at < 120; at += 1) callers.enter(`c${at}`).streamChanged(true);
    expect(first.opsPerStream).toBe(512);
    for (let at = 0; at < 10_000; at += 1) callers.enter(`d${at}`).streamChanged(true);
    expect(first.opsPerStream).toBe(16);
  });

  it('is divided among the streams of one caller', () => {
    const caller = make().enter('a');
    for (let at = 0; at < 8; at += 1) caller.streamChanged(true);
    expect(caller.opsPerStream).toBe(1_024);
  });

  it('bounds calls by number and bytes, and lets one through however large', () => {
    const callers = make();
    const caller = callers.enter('a');
    caller.beginCall(1, 512 * MIB);
    expect(() => {
      caller.beginCall(1, 0);
    }).toThrow('its share of bytes of open operations');
    caller.endCall(1, 512 * MIB);
    for (let at = 0; at < 49_152; at += 1) caller.beginCall(1, 100);
    expect(() => {
      caller.beginCall(1, 100);
    }).toThrow('its share of open operations');
    // Somebody else comes: there is room, and the first gets nothing more until it is below its part.
    const other = callers.enter('b');
    for (let at = 0; at < 1_000; at += 1) other.beginCall(1, 100);
    for (let at = 0; at < 20_000; at += 1) caller.endCall(1, 100);
    expect(() => {
      caller.beginCall(1, 100);
    }).toThrow('its share of open operations');
    expect(callers.refusals).toBe(3);
  });

  it('bounds what scans read ahead', () => {
    const callers = make();
    const caller = callers.enter('a');
    for (let at = 0; at < 128; at += 1) caller.beginScan(MIB / 2);
    expect(() => {
      caller.beginScan(MIB / 2);
    }).toThrow('its share of open scans');
    callers.enter('b').beginScan(MIB / 2);
    expect(callers.scanBytes).toBe(64.5 * MIB);
  });

  it('of scans has a total, however many callers there are', () => {
    const callers = make();
    const first = callers.enter('first');
    first.beginScan(4 * MIB);
    let begun = 1;
    const begin = (peer: number): void => {
      callers.enter(`c${peer}`).beginScan(4 * MIB);
      begun += 1;
    };
    for (let peer = 0; begun < 32; peer += 1) begin(peer);
    expect(() => {
      begin(1_000);
    }).toThrow('pages of the scans of all clients: 134217728 of 134217728 bytes are taken');
    expect([callers.scanBytes, callers.refusals]).toEqual([128 * MIB, 1]);
    first.endScan(4 * MIB);
    begin(1_001);
  });

  it('of values that nobody takes is half of all for one, and a floor for whoever comes next', () => {
    const callers = make();
    const first = new Stream(callers, 'a').takeAll(MIB);
    expect(first.heldBytes).toBe(64 * MIB);
    expect(new Stream(callers, 'b').takeAll(MIB).heldBytes).toBe(32 * MIB);
    for (let at = 0; at < 31; at += 1)
      expect(new Stream(callers, `c${at}`).takeAll(MIB / 4).heldBytes).toBe(MIB);
    expect(new Stream(callers, 'last').takeAll(1_024).heldBytes).toBe(MIB);
    expect(callers.answers.used).toBe(128 * MIB);
    first.end();
    // Two quarters of the open part are left to be shared.
    expect(new Stream(callers, 'd').takeAll(MIB).heldBytes).toBe(32 * MIB);
  });

  it('of values is given back by the stream that has held most for longest when nobody finds room', () => {
    let nowMs = 0;
    const callers = make(() => nowMs);
    const holders = Array.from({ length: 100 }, (_, at) => new Stream(callers, `evil${at}`));
    // Large values while there is room for them, smaller ones then.
    for (let size = MIB; size >= 64; size /= 4) for (const holder of holders) holder.takeAll(size);
    expect(callers.answers.limit - callers.answers.used).toBeLessThan(64);
    expect(new Stream(callers, 'early').take(1_024)).toBe(false);
    expect(holders.filter(({ isCut }) => isCut)).toEqual([]);
    nowMs = 1_000;
    expect(new Stream(callers, 'honest').take(MIB)).toBe(true);
    expect(holders.filter(({ isCut }) => isCut)).toEqual([holders[0]]);
    expect(callers.ended).toBe(1);
    // Whoever is behind is told first; those who take what they get stay.
    const quick = new Stream(callers, 'quick');
    for (const other of ['x', 'y', 'z']) {
      new Stream(callers, other).takeAll(MIB);
      expect(quick.take(1_024)).toBe(true);
      quick.heldSinceMs = nowMs += 1_000;
    }
    expect(quick.isCut).toBe(false);
  });

  it('of values is held by those that lag for ten seconds no longer when somebody wants more than the floor', () => {
    let nowMs = 0;
    const callers = make(() => nowMs);
    const stuck = new Stream(callers, 'a').takeAll(MIB);
    const other = new Stream(callers, 'b').takeAll(MIB);
    nowMs = 9_000;
    other.heldSinceMs = nowMs;
    expect(other.take(MIB)).toBe(false);
    expect(stuck.isCut).toBe(false);
    nowMs = 10_000;
    expect(other.take(MIB)).toBe(true);
    expect([stuck.isCut, other.isCut]).toEqual([true, false]);
    // Who asks is in the middle of it, and is refused.
    nowMs = 100_000;
    other.takeAll(MIB);
    expect(other.isCut).toBe(false);
  });

  it('of values that are still to be asked for is not kept by those that lag, unless they wait for themselves', () => {
    let nowMs = 0;
    const callers = make(() => nowMs);
    const first = new Stream(callers, 'a').takeAll(MIB);
    nowMs = 60_000;
    // It has its share, and nobody else is there.
    expect(callers.allowsAnswer(first.heldBytes, MIB, 0)).toBe(false);
    expect(first.isCut).toBe(false);
    const second = new Stream(callers, 'b').takeAll(MIB);
    expect(callers.allowsAnswer(MIB, MIB, 0)).toBe(true);
    expect([first.isCut, second.isCut]).toEqual([true, false]);
  });

  it('of scans is given back by one whose client takes nothing when somebody has no room for the first', () => {
    let nowMs = 0;
    const callers = make(() => nowMs);
    const cut: string[] = [];
    class Scan extends Holder {
      readonly caller: Caller;
      override heldBytes = 4 * MIB;
      constructor(peer: string) {
        super();
        this.caller = callers.enter(peer);
        this.caller.beginScan(this.heldBytes);
        callers.scanHolders.add(this);
      }
      cutOff(): void {
        cut.push(this.caller.peer);
        callers.scanHolders.remove(this);
        this.caller.endScan(this.heldBytes);
        callers.leave(this.caller);
      }
    }
    const scans = Array.from({ length: 32 }, (_, at) => new Scan(`c${at}`));
    for (const scan of scans) scan.heldSinceMs = scan.caller.peer === 'c7' ? 0 : Infinity;
    expect(() => new Scan('late')).toThrow('pages of the scans of all clients');
    nowMs = 1_000;
    expect(new Scan('later').caller.scanBytes).toBe(4 * MIB);
    expect(cut).toEqual(['c7']);
  });

  it('of values lets one through alone, however large', () => {
    const callers = make();
    const caller = callers.enter('a');
    expect(caller.takeAnswer(512 * MIB)).toBe(true);
    expect(caller.takeAnswer(1)).toBe(false);
    expect(callers.enter('b').takeAnswer(1)).toBe(false);
    caller.giveAnswers(512 * MIB, 1);
    expect(callers.enter('b').takeAnswer(1)).toBe(true);
  });

  it('is forgotten with its last call', () => {
    const callers = make();
    const caller = callers.enter('a');
    expect(callers.enter('a')).toBe(caller);
    callers.leave(caller);
    callers.leave(caller);
    expect(callers.enter('a')).not.toBe(caller);
    expect(callers.busy).toBe(0);
  });
});
