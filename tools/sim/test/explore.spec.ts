import { describe, expect, it } from '@jest/globals';

import { DEFAULT_BOUNDS } from '../src/explore/bounds.js';
import { Explorer } from '../src/explore/explorer.js';
import { faultOf } from '../src/explore/invariants.js';
import type { View } from '../src/explore/locals.js';
import { StateTable } from '../src/explore/states.js';

const QUIET = { ...DEFAULT_BOUNDS, terms: 1, timeouts: 1, crashes: 0, heartbeats: 0 };

describe('every state of the consensus core', () => {
  // The numbers change with the core; what matters is that nothing is left and nothing is broken.
  it.each([
    ['one leader, two entries', { ...QUIET, entries: 2 }, 2_000],
    ['one leader, a crash', { ...QUIET, entries: 1, crashes: 1 }, 1_000],
    ['two candidates, two terms', { ...QUIET, entries: 1, terms: 2, timeouts: 2 }, 5_000],
    ['a read', { ...QUIET, entries: 1, reads: 1 }, 500],
    ['pre-votes that arrive late, twice or never', { ...QUIET, entries: 1, hasPreVotes: true }, 1_000],
  ])('keeps every invariant: %s', (_name, bounds, statesMin) => {
    const result = new Explorer(bounds).run();
    expect(result.violation).toBeUndefined();
    expect(result.isExhaustive).toBe(true);
    expect(result.states).toBeGreaterThan(statesMin);
  });

  it('counts the same states in every run', () => {
    const counts = (): unknown => new Explorer({ ...QUIET, entries: 1 }).run();
    expect(counts()).toEqual(counts());
  });

  it('says that it is not exhaustive when it keeps no more states', () => {
    const result = new Explorer({ ...QUIET, entries: 2, statesMax: 500 }).run();
    expect(result.isExhaustive).toBe(false);
  });
});

describe('states of a group that break a rule', () => {
  const view = (id: number, fields: Partial<View> = {}): View => ({
    ...{ id, role: 'follower', term: 1, log: [], durable: [], handed: [], led: new Set<number>() },
    ...fields,
  });
  const entry = (index: number, term: number): View['handed'][number] => ({
    entry: { index, term, kind: 0, payload: new Uint8Array() } as never,
    inTerm: term,
  });

  it.each([
    ['election safety', [view(1, { led: new Set([1]) }), view(2, { led: new Set([1]) }), view(3)]],
    [
      'log matching',
      [view(1, { log: ['1.1.0.', '2.2.0.'] }), view(2, { log: ['1.2.0.', '2.2.0.'] }), view(3)],
    ],
    [
      'state machine safety',
      [view(1, { handed: [entry(1, 1)] }), view(2, { handed: [entry(1, 2)] }), view(3)],
    ],
    [
      'leader completeness',
      [
        view(1, { role: 'leader', term: 2 }),
        view(2, { handed: [entry(1, 1)], durable: ['1.1.0.'] }),
        view(3),
      ],
    ],
    ['committed never lost', [view(1, { handed: [entry(1, 1)], durable: ['1.1.0.'] }), view(2), view(3)]],
  ])('%s', (rule, views) => {
    expect(faultOf(views)).toContain(rule);
  });
});

it('keeps states exactly, also after it has grown', () => {
  const table = new StateTable(2, 4);
  for (let at = 0; at < 100; at += 1) expect(table.add([at % 10, Math.floor(at / 10)], at)).toBe(true);
  for (let at = 0; at < 100; at += 1) expect(table.add([at % 10, Math.floor(at / 10)], 7)).toBe(false);
  const read: number[] = [];
  table.read(42, read);
  expect([table.count, read, table.parentOf(42)]).toEqual([100, [2, 4], 42]);
});
