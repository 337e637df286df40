import { describe, expect, it } from '@jest/globals';
import { TIMESTAMP_LOGICAL_STEPS, timestamp } from '@cairn/base';
import fc from 'fast-check';
import { CommandOutcome, OutcomeKind, setFailedCompare } from './command-outcome.js';
import { DETAIL_OVERHEAD_BYTES } from './request-chunk.js';
import { RequestWindow, type RequestWindowOptions } from './request-window.js';
import { encodeVersionToken } from './version-token.js';

function outcomeOf(
  client: number,
  requestSequence: number,
  ts: number,
  kind: OutcomeKind = OutcomeKind.put,
): CommandOutcome {
  const outcome = new CommandOutcome();
  outcome.client = client;
  outcome.requestSequence = requestSequence;
  outcome.timestamp = timestamp(ts);
  outcome.sequence = (client * 7 + requestSequence) % 1000;
  outcome.kind = kind;
  return outcome;
}

interface Made {
  readonly outcome: CommandOutcome;
}

/** A list, and nothing clever. */
class NaiveWindow {
  entries: CommandOutcome[] = [];
  completeSince = 0;
  newest = 0;

  constructor(readonly options: Required<Omit<RequestWindowOptions, 'completeSince'>>) {}

  append(outcome: CommandOutcome): void {
    this.entries.push(outcome);
    this.newest = Math.max(this.newest, outcome.timestamp);
    this.evict(this.newest);
  }

  evict(now: number): void {
    const horizon = now - this.options.keptMs * TIMESTAMP_LOGICAL_STEPS;
    for (let first = this.entries[0]; first !== undefined; first = this.entries[0]) {
      const details = this.entries.reduce((sum, entry) => sum + costOf(entry), 0);
      const isOver = this.entries.length > this.options.commandsMax || details > this.options.detailBytesMax;
      if (first.timestamp >= horizon && !isOver) return;
      this.entries.shift();
      this.completeSince = Math.max(this.completeSince, first.timestamp);
    }
  }

  lookup(client: number, requestSequence: number): CommandOutcome | undefined {
    return this.entries.find((entry) => entry.client === client && entry.requestSequence === requestSequence);
  }
}

function costOf({ kind, detail }: CommandOutcome): number {
  if (detail === undefined) return 0;
  const isNumber = kind === OutcomeKind.increment && Number.isSafeInteger(Number(detail.toString()));
  return isNumber ? 0 : detail.length + DETAIL_OVERHEAD_BYTES;
}

const outcomeArbitrary: fc.Arbitrary<Made> = fc
  .record({
    client: fc.constantFrom(1, 2, 2 ** 32, 2 ** 48 - 1),
    requestSequence: fc.integer({ min: 1, max: 60 }),
    stepMs: fc.integer({ min: 0, max: 3 }),
    kind: fc.constantFrom(...Object.values(OutcomeKind)),
    number: fc.oneof(
      fc.maxSafeInteger().map(String),
      fc.constantFrom('0', '-1', '9223372036854775807', '9007199254740993'),
    ),
    value: fc.uint8Array({ maxLength: 30 }),
    rowKind: fc.constantFrom(0, 0, 3),
  })
  .map(({ client, requestSequence, stepMs, kind, number, value, rowKind }) => {
    const outcome = outcomeOf(client, requestSequence, stepMs, kind);
    if (kind === OutcomeKind.increment) outcome.detail = Buffer.from(number);
    if (kind === OutcomeKind.compareAndSet) {
      setFailedCompare(outcome, { token: encodeVersionToken(timestamp(4), 2), value, kind: rowKind });
    }
    return { outcome };
  });

const options = { keptMs: 40, commandsMax: 70, detailBytesMax: 1500 };

function expectEqual(window: RequestWindow, naive: NaiveWindow): void {
  expect(window.length).toBe(naive.entries.length);
  expect(window.completeSince).toBe(naive.completeSince);
  expect(window.detailBytes).toBe(naive.entries.reduce((sum, entry) => sum + costOf(entry), 0));
  for (const client of [1, 2, 2 ** 32, 2 ** 48 - 1]) {
    for (let sequence = 1; sequence <= 61; sequence += 3) {
      expect(window.lookup(client, sequence)).toEqual(naive.lookup(client, sequence));
    }
  }
}

describe('RequestWindow', () => {
  it('answers as a list does, with and without an index, and through encodings', () => {
    const steps = fc.array(fc.tuple(outcomeArbitrary, fc.integer({ min: 0, max: 60 })), { maxLength: 250 });
    fc.assert(
      fc.property(steps, (made) => {
        let window = new RequestWindow(options);
        const naive = new NaiveWindow(options);
        let now = 1;
        for (const [{ outcome }, action] of made) {
          now += outcome.timestamp * TIMESTAMP_LOGICAL_STEPS;
          const entry = Object.assign(new CommandOutcome(), outcome, { timestamp: timestamp(now) });
          window.append(entry);
          naive.append(entry);
          if (action === 0) expectEqual(window, naive);
          if (action === 1) window = RequestWindow.decode(window.encode(), options);
          if (action === 2) window = window.split();
          if (action === 3) {
            window.evictAt(timestamp(now + 30 * TIMESTAMP_LOGICAL_STEPS));
            naive.evict(now + 30 * TIMESTAMP_LOGICAL_STEPS);
          }
        }
        expectEqual(window, naive);
      }),
      { seed: 20_260_106, numRuns: 150 },
    );
  });

  it('encodes the same whatever way it came to its contents', () => {
    const fresh = new RequestWindow(options);
    let travelled = new RequestWindow(options);
    for (let sequence = 1; sequence <= 200; sequence += 1) {
      const outcome = outcomeOf(3, sequence, sequence * TIMESTAMP_LOGICAL_STEPS);
      fresh.append(outcome);
      travelled.append(outcome);
      if (sequence % 17 === 0) travelled = RequestWindow.decode(travelled.encode(), options);
    }
    expect(travelled.encode().equals(fresh.encode())).toBe(true);
  });

  it('gives a split-off range a window of its own', () => {
    const parent = new RequestWindow();
    for (let sequence = 1; sequence <= 40; sequence += 1) parent.append(outcomeOf(3, sequence, sequence));
    const child = parent.split();
    parent.append(outcomeOf(3, 41, 50));
    child.append(outcomeOf(4, 1, 60));
    expect(child.lookup(3, 40)?.timestamp).toBe(40);
    expect(child.lookup(3, 41)).toBeUndefined();
    expect(parent.lookup(4, 1)).toBeUndefined();
    expect(parent.lookup(3, 41)?.timestamp).toBe(50);
    expect([parent.length, child.length]).toEqual([41, 41]);
  });

  it('answers in every half of a split for what came before, and for its own', () => {
    const parent = new RequestWindow({ keptMs: 40 });
    for (let sequence = 1; sequence <= 3_000; sequence += 1) parent.append(outcomeOf(3, sequence, sequence));
    const halves = [parent, parent.split(), parent.split()];
    halves.forEach((half, number) => {
      for (let sequence = 1; sequence <= 200; sequence += 1)
        half.append(outcomeOf(10 + number, sequence, 3_000));
    });
    const late = halves[1] as RequestWindow;
    late.append(outcomeOf(20, 1, 2_500 + 40 * TIMESTAMP_LOGICAL_STEPS));
    halves.forEach((half, number) => {
      for (const sequence of [1, 33, 1_000, 2_499, 2_500, 3_000]) {
        const isForgotten = half === late && sequence < 2_500;
        expect(half.lookup(3, sequence)?.timestamp).toBe(isForgotten ? undefined : sequence);
      }
      for (const sequence of [1, 64, 200]) {
        expect(half.lookup(10 + number, sequence)?.sequence).toBe(((10 + number) * 7 + sequence) % 1000);
        expect(half.lookup(10 + ((number + 1) % 3), sequence)).toBeUndefined();
      }
    });
    expect([late.length, late.completeSince]).toEqual([501 + 200 + 1, 2_499]);
  });

  it('keeps its index true over long runs of appends and lookups', () => {
    const window = new RequestWindow({ commandsMax: 3000 });
    for (let sequence = 1; sequence <= 20_000; sequence += 1) {
      window.append(outcomeOf(9, sequence, sequence));
      if (sequence % 911 !== 0) continue;
      expect(window.lookup(9, sequence)?.timestamp).toBe(sequence);
      expect(window.lookup(9, Math.max(sequence - 2999, 1))?.timestamp).toBe(Math.max(sequence - 2999, 1));
      expect(window.lookup(9, sequence - 3000)).toBeUndefined();
      expect(window.lookup(8, sequence)).toBeUndefined();
    }
    expect(window.length).toBe(3000);
    expect(window.completeSince).toBe(17_000);
  });

  it('knows nothing at or below what it was opened with', () => {
    const window = new RequestWindow({ completeSince: timestamp(77) });
    expect(window.completeSince).toBe(77);
    expect(RequestWindow.decode(window.encode()).completeSince).toBe(77);
    expect(RequestWindow.decode(window.encode(), { completeSince: timestamp(90) }).completeSince).toBe(90);
    expect(window.lookup(1, 1)).toBeUndefined();
  });

  it('ignores commands without identity', () => {
    const window = new RequestWindow();
    window.append(outcomeOf(0, 5, 9));
    expect(window.length).toBe(0);
    expect(window.lookup(0, 5)).toBeUndefined();
  });

  it('refuses damaged encodings', () => {
    const window = new RequestWindow();
    window.append(outcomeOf(3, 1, 5, OutcomeKind.increment));
    const failed = outcomeOf(3, 2, 6);
    setFailedCompare(failed, {
      token: encodeVersionToken(timestamp(4), 2),
      value: Buffer.from('v'),
      kind: 0,
    });
    window.append(failed);
    const good = window.encode();
    for (let length = 0; length < good.length; length += 1) {
      expect(() => RequestWindow.decode(good.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'CORRUPTION' }),
      );
    }
    const newer = Buffer.from(good);
    newer[0] = 2;
    expect(() => RequestWindow.decode(newer)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    const noClient = Buffer.from(good);
    noClient.fill(0, 21, 29);
    expect(() => RequestWindow.decode(noClient)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  });
});
