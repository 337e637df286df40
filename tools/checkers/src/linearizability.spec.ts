import { describe, expect, it } from '@jest/globals';
import { SimRng } from '@cairn/runtime-sim';

import type { Action, Operation } from './history.js';
import { checkKey } from './linearizability.js';

const NEVER = Number.POSITIVE_INFINITY;

function op(invokedMs: number, returnedMs: number, action: Action): Operation {
  return { process: 'p', key: 'k', action, invokedMs, returnedMs };
}
const write = (from: number, to: number, value: string | undefined): Operation =>
  op(from, to, { f: 'write', value });
const read = (from: number, to: number, value: string | undefined): Operation =>
  op(from, to, { f: 'read', value });
const add = (from: number, to: number, result: string): Operation =>
  op(from, to, { f: 'add', delta: 1, result });
function cas(
  times: readonly [number, number],
  expected: string | undefined,
  value: string,
  more: { succeeded: boolean; found?: string } = { succeeded: true },
): Operation {
  return op(...times, { f: 'cas', expected, value, succeeded: more.succeeded, found: more.found });
}
const verdict = (...operations: Operation[]): string => checkKey('k', operations).type;

describe('the linearizability checker', () => {
  it('accepts what one register may answer', () => {
    expect(verdict()).toBe('linearizable');
    expect(verdict(read(0, 1, undefined), write(2, 3, 'a'), read(4, 5, 'a'))).toBe('linearizable');
    expect(verdict(write(0, 10, 'a'), read(1, 2, undefined), read(3, 4, 'a'))).toBe('linearizable');
    expect(verdict(write(0, 10, 'a'), write(0, 10, 'b'), read(11, 12, 'a'))).toBe('linearizable');
    expect(verdict(write(0, 1, 'a'), cas([2, 3], 'a', 'b'), read(4, 5, 'b'))).toBe('linearizable');
    expect(verdict(write(0, 1, 'a'), cas([2, 3], 'x', 'b', { succeeded: false, found: 'a' }))).toBe(
      'linearizable',
    );
    expect(verdict(add(0, 5, '2'), add(0, 5, '1'), read(6, 7, '2'))).toBe('linearizable');
  });

  it('finds lost writes, stale reads, reads that go back and values from nowhere', () => {
    expect(verdict(write(0, 1, 'a'), read(2, 3, undefined))).toBe('violated');
    expect(verdict(write(0, 1, 'a'), write(2, 3, 'b'), read(4, 5, 'a'))).toBe('violated');
    expect(verdict(write(0, 10, 'a'), read(1, 2, 'a'), read(3, 4, undefined))).toBe('violated');
    expect(verdict(read(0, 1, 'z'))).toBe('violated');
    expect(verdict(write(0, 1, 'a'), write(2, 3, undefined), read(4, 5, 'a'))).toBe('violated');
  });

  it('finds a compare-and-set that overwrote, and an increment applied twice or lost', () => {
    expect(verdict(write(0, 1, 'a'), cas([2, 3], undefined, 'b'))).toBe('violated');
    expect(verdict(cas([0, 1], undefined, 'a'), cas([2, 3], undefined, 'b', { succeeded: false }))).toBe(
      'violated',
    );
    expect(verdict(add(0, 1, '1'), add(2, 3, '3'))).toBe('violated');
    expect(verdict(add(0, 1, '1'), add(2, 3, '1'))).toBe('violated');
    expect(verdict(add(0, 1, '1'), add(2, 3, '2'), read(4, 5, '1'))).toBe('violated');
  });

  it('lets an operation of unknown outcome happen late, once, or never', () => {
    expect(verdict(write(0, NEVER, 'a'), read(1, 2, undefined), read(90, 91, 'a'))).toBe('linearizable');
    expect(verdict(write(0, NEVER, 'a'), write(1, 2, 'b'), read(90, 91, 'b'))).toBe('linearizable');
    const twice = [write(0, NEVER, 'a'), read(1, 2, 'a'), write(3, 4, 'b'), read(5, 6, 'a')];
    expect(verdict(...twice)).toBe('violated');
    expect(verdict(write(5, NEVER, 'a'), read(1, 2, 'a'))).toBe('violated');
    expect(verdict(add(0, NEVER, ''), add(1, 2, '2'), read(3, 4, '2'))).toBe('linearizable');
    expect(verdict(add(0, NEVER, ''), add(1, 2, '3'))).toBe('violated');
    expect(verdict(write(0, 1, 'a'), cas([2, NEVER], 'a', 'b'), read(5, 6, 'a'), read(7, 8, 'b'))).toBe(
      'linearizable',
    );
  });

  it('shows the shortest part that cannot be explained', () => {
    const operations = [write(0, 1, 'a'), read(2, 3, undefined), write(4, 5, 'b'), read(6, 7, 'b')];
    const result = checkKey('k', operations);
    expect(result.type === 'violated' && result.upTo).toEqual(operations.slice(0, 2));
  });

  it('shows the answer that is wrong, not one before it, amid many increments', () => {
    const additions = Array.from({ length: 40 }, (_, at) => add(at * 2, at * 2 + 1, String(at + 1)));
    const wrong = read(80, 81, '39');
    const unknown = cas([75, NEVER], 'nothing', 'of it');
    const result = checkKey('k', [...additions, unknown, wrong]);
    expect(result).toMatchObject({ type: 'violated', culprit: wrong });
  });

  /** A register that really takes each operation at one moment, and a history of it with unknown outcomes. */
  function simulated(seed: string, count: number): Operation[] {
    const rng = new SimRng(seed);
    const planned = Array.from({ length: count }, (_, at) => {
      const momentMs = at * 2 + rng.next();
      return { momentMs, from: momentMs - rng.next() * 12, to: momentMs + rng.next() * 12, at };
    }).sort((a, b) => a.momentMs - b.momentMs);
    let state: string | undefined;
    return planned.flatMap(({ from, to, at }) => {
      const isUnknown = rng.chance(0.03);
      const happens = !isUnknown || rng.chance(0.5);
      const dice = rng.integer(3);
      const value = `v${at}`;
      if (dice === 0) return isUnknown ? [] : [read(from, to, state)];
      const returned = isUnknown ? NEVER : to;
      if (dice === 1) {
        if (happens) state = value;
        return [write(from, returned, value)];
      }
      const expected = rng.chance(0.7) ? state : 'other';
      const found = state;
      const succeeded = expected === state;
      if (happens && succeeded) state = value;
      const more = found === undefined ? { succeeded } : { succeeded, found };
      return [cas([from, returned], expected, value, more)];
    });
  }

  it('accepts every history of a real register, and none with one answer changed', () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const operations = simulated(`register ${seed}`, 120);
      expect(verdict(...operations)).toBe('linearizable');
      const at = operations.findLastIndex(({ action }) => action.f === 'read');
      const changed = operations.with(at, {
        ...(operations[at] as Operation),
        action: { f: 'read', value: 'never' },
      });
      expect(verdict(...changed)).toBe('violated');
    }
  });

  it('decides long histories of one key', () => {
    expect(verdict(...simulated('long', 20_000))).toBe('linearizable');
  }, 30_000);
});
