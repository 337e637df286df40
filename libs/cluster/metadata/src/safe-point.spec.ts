/**
 * Goal: the safe point is never further than any need of old versions that counts, never goes back, and
 * nobody pins it for longer than the settings say. Method: the rules alone, on states made by hand and drawn.
 */
import { describe, expect, it } from '@jest/globals';
import { timestamp, timestampFromUnixMs, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import fc from 'fast-check';

import { evaluateDeleteHold, evaluatePutHold, HOLDS_MAX, listHolds } from './holds.js';
import { MetadataState } from './metadata-state.js';
import type { Change } from './records.js';
import { evaluateSafePoint, pinText, wantedSafePoint, type RunningTransactions } from './safe-point.js';
import type { PutHoldRequest } from './wire-binding.js';

const SECOND = 1_000 * TIMESTAMP_LOGICAL_STEPS;
const NOW_UNIX_MS = 1_795_132_800_000;
const NOW = timestampFromUnixMs(NOW_UNIX_MS);
const NOBODY: readonly RunningTransactions[] = [];

/** A timestamp so many seconds before now. */
const back = (seconds: number): Timestamp => timestamp(NOW - seconds * SECOND);

function stateOf(...changes: Change[]): MetadataState {
  const state = new MetadataState();
  for (const change of changes) state.absorb(change);
  return state;
}

function hold(name: string, heldAt: number, ttlSeconds = 3_600): Change {
  const expiresUnixMs = NOW_UNIX_MS + ttlSeconds * 1_000;
  return { type: 'hold', name, value: { heldAt: timestamp(heldAt), expiresUnixMs, reason: '' } };
}

const setting = (name: string, value: number): Change => ({ type: 'setting', name, value: String(value) });

function put(
  state: MetadataState,
  request: Partial<PutHoldRequest> = {},
): ReturnType<typeof evaluatePutHold> {
  return evaluatePutHold(state, NOW, { name: 'h', timestamp: 0, ttlMs: 1_000, reason: '', ...request });
}

function errorOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

describe('the safe point', () => {
  it.each<[string, number, Change[], RunningTransactions[]]>([
    ['the life of old versions', 600, [], []],
    ['that life as it is set', 30, [setting('gc.life_seconds', 30)], []],
    ['the oldest hold', 900, [hold('a', back(700)), hold('b', back(900))], []],
    ['no hold that is younger than that', 600, [hold('a', back(10))], []],
    ['no hold that has expired', 600, [hold('a', back(900), 0)], []],
    ['no hold beyond the cap', 800, [hold('a', back(86_401)), hold('b', back(800))], []],
    [
      'no hold beyond a cap that was lowered',
      600,
      [setting('gc.hold_max_seconds', 700), hold('a', back(701))],
      [],
    ],
    ['transactions that run', 700, [], [{ router: 'r', oldest: back(700) }]],
    [
      'transactions that run for too long no further than they may',
      3_600,
      [],
      [{ router: 'r', oldest: back(3_700) }],
    ],
    [
      'transactions that may run for longer',
      3_601,
      [setting('transaction.max_seconds', 7_200)],
      [{ router: 'r', oldest: back(3_601) }],
    ],
  ])('heeds %s', (_what, seconds, changes, running) => {
    expect(wantedSafePoint(stateOf(...changes), { newest: NOW, running }).at).toBe(back(seconds));
  });

  it('says what pins it', () => {
    const state = stateOf(hold('nightly', back(900)));
    const running = [{ router: 'router-1', oldest: back(700) }];
    const { pin } = wantedSafePoint(state, { newest: NOW, running });
    expect(pin).toEqual({ kind: 'hold', name: 'nightly', at: back(900), isCapped: false });
    expect(pin === undefined ? '' : pinText(state, pin, NOW)).toBe('hold "nightly", 900 s back');
    const freed = stateOf();
    const other = wantedSafePoint(freed, { newest: NOW, running }).pin;
    expect(other === undefined ? '' : pinText(freed, other, NOW)).toBe(
      'transactions of router router-1, 700 s back',
    );
    expect(wantedSafePoint(freed, { newest: NOW, running: NOBODY }).pin).toBeUndefined();
  });

  it('moves in steps, and not at all before time has passed', () => {
    const facts = { newest: NOW, running: NOBODY };
    const moved = (...changes: Change[]): unknown => evaluateSafePoint(stateOf(...changes), facts).changes;
    expect(moved()).toEqual([{ type: 'gc-safe-point', value: back(600) }]);
    expect(moved({ type: 'gc-safe-point', value: back(604) })).toEqual([]);
    expect(moved({ type: 'gc-safe-point', value: back(605) })).toEqual([
      { type: 'gc-safe-point', value: back(600) },
    ]);
    expect(evaluateSafePoint(stateOf(), { ...facts, newest: timestamp(5) }).changes).toEqual([]);
  });

  it('takes holds away that have ended, and says which', () => {
    const state = stateOf(hold('a', back(5), 0), hold('b', back(5)), {
      type: 'gc-safe-point',
      value: back(600),
    });
    expect(evaluateSafePoint(state, { newest: NOW, running: NOBODY })).toEqual({
      changes: [{ type: 'hold', name: 'a', value: undefined }],
      result: ['a'],
    });
  });

  it('never goes back, and passes no need that counts and came in time', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('time' as const), seconds: fc.integer({ min: 1, max: 4_000 }) }),
      fc.record({
        kind: fc.constant('hold' as const),
        name: fc.constantFrom('a', 'b', 'c'),
        seconds: fc.integer({ min: 0, max: 1_200 }),
        ttlSeconds: fc.integer({ min: 1, max: 9_000 }),
      }),
      fc.record({ kind: fc.constant('delete' as const), name: fc.constantFrom('a', 'b', 'c') }),
      fc.record({ kind: fc.constant('life' as const), seconds: fc.integer({ min: 10, max: 2_000 }) }),
      fc.record({ kind: fc.constant('run' as const), seconds: fc.integer({ min: 0, max: 4_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const state = stateOf(setting('gc.hold_max_seconds', 7_200));
        let newest = NOW;
        let running = NOBODY;
        for (const each of steps) {
          const before = state.gcSafePoint;
          if (each.kind === 'time') newest = timestamp(newest + each.seconds * SECOND);
          if (each.kind === 'life') state.absorb(setting('gc.life_seconds', each.seconds));
          if (each.kind === 'delete')
            for (const one of evaluateDeleteHold(state, each.name).changes) state.absorb(one);
          if (each.kind === 'run')
            running = [{ router: 'r', oldest: timestamp(newest - each.seconds * SECOND) }];
          if (each.kind === 'hold') {
            const at = newest - each.seconds * SECOND;
            const request = { name: each.name, timestamp: at, ttlMs: each.ttlSeconds * 1_000, reason: '' };
            const made = errorOf(() => evaluatePutHold(state, newest, request));
            if (made instanceof Error) continue;
            for (const one of (made as ReturnType<typeof evaluatePutHold>).changes) state.absorb(one);
          }
          for (const one of evaluateSafePoint(state, { newest, running }).changes) state.absorb(one);
          expect(state.gcSafePoint).toBeGreaterThanOrEqual(before);
          for (const { timestamp: at, capped } of listHolds(state, newest)) {
            if (!capped) expect(state.gcSafePoint).toBeLessThanOrEqual(at);
          }
          for (const { oldest } of running) {
            const counts = oldest >= before && newest - oldest <= 3_600 * SECOND;
            if (counts) expect(state.gcSafePoint).toBeLessThanOrEqual(oldest);
          }
        }
      }),
    );
  });
});

describe('a hold', () => {
  it('is made at the newest timestamp, or at one that is named, and ends by itself', () => {
    const made = put(stateOf(), { ttlMs: 5_000, reason: 'backup' });
    const expiresUnixMs = NOW_UNIX_MS + 5_000;
    expect(made.result).toEqual({
      name: 'h',
      timestamp: NOW,
      expiresUnixMs,
      reason: 'backup',
      capped: false,
    });
    expect(put(stateOf(), { timestamp: back(60) }).result.timestamp).toBe(back(60));
    const state = stateOf(...made.changes);
    expect(listHolds(state, timestamp(NOW + 5 * SECOND - 1)).map(({ name }) => name)).toEqual(['h']);
    expect(listHolds(state, timestamp(NOW + 5 * SECOND))).toEqual([]);
  });

  it('that is renewed keeps its timestamp unless another one is named', () => {
    const state = stateOf(hold('h', back(100)));
    expect(put(state).result.timestamp).toBe(back(100));
    expect(put(state, { timestamp: back(50) }).result.timestamp).toBe(back(50));
    expect(put(stateOf(hold('h', back(100), 0))).result.timestamp).toBe(NOW);
  });

  it('that lies too far back is listed, and says that it holds nothing', () => {
    const state = stateOf(hold('a', back(86_401)), hold('b', back(86_400)));
    expect(listHolds(state, NOW).map(({ name, capped }) => [name, capped])).toEqual([
      ['a', true],
      ['b', false],
    ]);
  });

  it.each<[string, Partial<PutHoldRequest>, string, RegExp]>([
    ['without a name', { name: '' }, 'INVALID_ARGUMENT name', /named "".*1 to 128 printable/],
    ['with a name that moves cursors', { name: 'a\x1b[2J' }, 'INVALID_ARGUMENT name', /named "a\?\[2J"/],
    ['with a name that is too long', { name: 'x'.repeat(129) }, 'INVALID_ARGUMENT name', /1 to 128/],
    ['with a reason that is too long', { reason: 'x'.repeat(257) }, 'INVALID_ARGUMENT reason', /at most 256/],
    ['for no time', { ttlMs: 0 }, 'INVALID_ARGUMENT ttl_ms', /for 0 ms: it must be from 1 to 86400000 ms/],
    ['for too long', { ttlMs: 86_400_001 }, 'INVALID_ARGUMENT ttl_ms', /86400001 ms.*gc\.hold_max_seconds/],
    [
      'at a timestamp that was not issued',
      { timestamp: NOW + 1 },
      'INVALID_ARGUMENT timestamp',
      new RegExp(
        `${NOW + 1} cannot be held, it was not issued yet: it must be from ${back(600)} \\(the safe point, 600 s back\\) to ${NOW} \\(`,
      ),
    ],
    [
      'below the safe point',
      { timestamp: back(600) - 1 },
      'FAILED_PRECONDITION timestamp',
      /may be collected already: it must be from/,
    ],
  ])('%s is refused', (_what, request, codeAndField, message) => {
    const [code, field] = codeAndField.split(' ');
    const state = stateOf({ type: 'gc-safe-point', value: back(600) });
    const error = errorOf(() => put(state, request));
    expect(error).toMatchObject({ code, details: { field } });
    expect((error as Error).message).toMatch(message);
  });

  it('is refused where it would hold nothing: beyond the cap, or before the first safe point', () => {
    const capped = stateOf(setting('gc.hold_max_seconds', 60), { type: 'gc-safe-point', value: back(600) });
    expect(errorOf(() => put(capped, { timestamp: back(61) }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('lies 61 s back: the most is 60 s'),
    });
    const code = 'FAILED_PRECONDITION';
    expect(errorOf(() => put(stateOf(), { timestamp: back(601) }))).toMatchObject({ code });
  });

  it('is one of a thousand', () => {
    const many = Array.from({ length: HOLDS_MAX }, (_, at) => hold(`h${at}`, back(1)));
    const state = stateOf(...many);
    expect(errorOf(() => put(state))).toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('There are 1000 holds'),
    });
    expect(put(state, { name: 'h7' }).result.name).toBe('h7');
  });

  it('is taken away once', () => {
    const state = stateOf(hold('h', back(1)));
    const first = evaluateDeleteHold(state, 'h');
    for (const change of first.changes) state.absorb(change);
    expect([first.result, evaluateDeleteHold(state, 'h')]).toEqual([true, { changes: [], result: false }]);
  });
});
