import { describe, expect, it } from '@jest/globals';

import { Callers } from './callers.js';

const MIB = 2 ** 20;
const make = (): Callers =>
  new Callers({
    streamedOpsMax: 8_192,
    openOpsMax: 65_536,
    openBytesMax: 256 * MIB,
    scanBytesMax: 64 * MIB,
    answerBytesMax: 128 * MIB,
  });

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

  it('of values that nobody takes leaves room for whoever comes next', () => {
    const callers = make();
    const take = (peer: string): { bytes: number; caller: ReturnType<Callers['enter']> } => {
      const caller = callers.enter(peer);
      let bytes = 0;
      while (caller.takeAnswer(MIB)) bytes += MIB;
      return { bytes, caller };
    };
    const first = take('a');
    expect(first.bytes).toBe(64 * MIB);
    expect(take('b').bytes).toBe(32 * MIB);
    for (let at = 0; at < 1_000; at += 1) take(`c${at}`);
    expect(callers.answers.used).toBe(128 * MIB);
    expect(callers.refusals).toBe(1_002);
    first.caller.giveAnswers(first.bytes, 64);
    expect(take('d').bytes).toBe(32 * MIB);
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
