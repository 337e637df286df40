import { describe, expect, it } from '@jest/globals';
import { SimRng } from '@cairn/runtime-sim';

import type { Action, Operation } from '../history.js';
import { checkKey } from '../linearizability.js';

const NEVER = Number.POSITIVE_INFINITY;
type Value = string | undefined;

/**
 * The definition, word for word: every order of every choice of what happened. `dead` remembers what was left
 * when it led to nothing, and the state then.
 */
function isExplained(operations: readonly Operation[], state: Value): boolean {
  const dead = new Set<string>();
  const numbers = new Map(operations.map((operation, at) => [operation, at]));
  const leadsToAnEnd = (left: readonly Operation[], current: Value): boolean => {
    if (left.every(({ returnedMs }) => returnedMs === NEVER)) return true;
    const place = `${left.map((each) => numbers.get(each)).join()} ${current}`;
    if (dead.has(place)) return false;
    const isExplainedBy = left.some((operation) => {
      if (left.some(({ returnedMs }) => returnedMs < operation.invokedMs)) return false;
      const next = after(current, operation);
      if (next === 'impossible') return false;
      return leadsToAnEnd(
        left.filter((each) => each !== operation),
        next.state,
      );
    });
    if (!isExplainedBy) dead.add(place);
    return isExplainedBy;
  };
  return leadsToAnEnd(operations, state);
}

function after(state: Value, { action, returnedMs }: Operation): { state: Value } | 'impossible' {
  const isUnknown = returnedMs === NEVER;
  switch (action.f) {
    case 'write':
      return { state: action.value };
    case 'read':
      return isUnknown || action.value === state ? { state } : 'impossible';
    case 'cas': {
      const holds = state === action.expected;
      if (isUnknown) return { state: holds ? action.value : state };
      if (action.succeeded) return holds ? { state: action.value } : 'impossible';
      return !holds && state === action.found ? { state } : 'impossible';
    }
    case 'add': {
      const sum = String(Number(state ?? '0') + action.delta);
      return isUnknown || sum === action.result ? { state: sum } : 'impossible';
    }
  }
}

interface Shape {
  readonly operations: number;
  readonly values: number;
  readonly lengthMs: number;
  readonly unknown: number;
  readonly isCounter: boolean;
}

function drawAction(rng: SimRng, { values, isCounter }: Shape): Action {
  const value = (): Value => {
    const drawn = rng.integer(values + 1);
    return drawn === 0 ? undefined : String(drawn);
  };
  const dice = rng.integer(10);
  if (dice < 4) return { f: 'read', value: value() };
  if (isCounter && dice < 9) {
    const delta = rng.chance(0.8) ? 1 : rng.pick([2, -1]);
    return { f: 'add', delta, result: String(rng.integer(values + 1)) };
  }
  if (dice < 7) return { f: 'write', value: value() };
  return { f: 'cas', expected: value(), value: value(), succeeded: rng.chance(0.8), found: value() };
}

/** Mostly nonsense: many of the histories have no explanation. */
function draw(rng: SimRng, shape: Shape): Operation[] {
  return Array.from({ length: shape.operations }, () => {
    const invokedMs = rng.integer(20);
    const action = drawAction(rng, shape);
    const returnedMs =
      rng.chance(shape.unknown) && action.f !== 'read' ? NEVER : invokedMs + 1 + rng.integer(shape.lengthMs);
    return { process: 'p', key: 'k', action, invokedMs, returnedMs };
  });
}

describe('the linearizability checker against the definition', () => {
  it.each([false, true])(
    'says the same of thousands of small histories (counter: %s)',
    (isCounter) => {
      const counts = { linearizable: 0, violated: 0 };
      for (let seed = 0; seed < 5_000; seed += 1) {
        const rng = new SimRng(`brute ${seed} ${isCounter}`);
        const shape = {
          operations: 2 + rng.integer(6),
          values: 1 + rng.integer(3),
          lengthMs: rng.pick([3, 10, 20]),
          unknown: rng.pick([0, 0.2, 0.5]),
          isCounter,
        };
        const operations = draw(rng, shape);
        const verdict = checkKey('k', operations);
        const expected = isExplained(operations, undefined) ? 'linearizable' : 'violated';
        const told = JSON.stringify(operations);
        expect(`${verdict.type} ${told}`).toBe(`${expected} ${told}`);
        counts[expected] += 1;
        if (verdict.type !== 'violated') continue;
        // What it shows is a contradiction of its own.
        const { initial, upTo: part } = verdict;
        const explaining = initial.filter((state) => isExplained(part, state));
        expect(JSON.stringify(explaining.length === 0 ? [] : { operations, initial, part })).toBe('[]');
      }
      expect(counts.linearizable).toBeGreaterThan(500);
      expect(counts.violated).toBeGreaterThan(500);
    },
    60_000,
  );
});
