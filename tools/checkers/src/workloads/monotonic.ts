import { nameText, type Name } from '../transactions.js';
import type { Violation } from '../violation.js';

/** What somebody saw of a counter that only grows. */
export interface CounterSight {
  readonly key: Name;
  /** `inc`: the value that an increment left; `read`: what was there. */
  readonly f: 'inc' | 'read';
  readonly value: number;
  /** Where the increment committed, or what the read read at. */
  readonly timestamp: number;
  /** Tells people where it is in the history. */
  readonly where: string;
}

function sightText({ f, value, timestamp, where }: CounterSight): string {
  return `${f === 'inc' ? 'an increment to' : 'a read of'} ${value} at ${timestamp} (${where})`;
}

/** Increments before the reads at their timestamp: those see them. */
function inOrder(a: CounterSight, b: CounterSight): number {
  return a.timestamp - b.timestamp || (a.f === b.f ? a.value - b.value : a.f === 'inc' ? -1 : 1);
}

function violationOf(before: CounterSight, sight: CounterSight): Violation | undefined {
  const name = ((): string | undefined => {
    if (sight.f === 'read' && before.f === 'read' && before.timestamp === sight.timestamp) {
      return sight.value === before.value ? undefined : 'two-values-at-once';
    }
    if (sight.value < before.value) return 'went-back';
    if (sight.f === 'read' || sight.value > before.value) return undefined;
    return before.f === 'inc' ? 'same-increment' : 'seen-early';
  })();
  if (name === undefined) return undefined;
  return { name, explanation: `${nameText(sight.key)}: ${sightText(sight)}, after ${sightText(before)}` };
}

/**
 * A counter that only grows, in the order of commit timestamps: no value is below an earlier one, each
 * increment leaves more than all before it, reads at one timestamp agree and see all increments up to it.
 *
 * Names: `went-back`, `same-increment`, `seen-early` (read before the increment that made it),
 * `two-values-at-once`.
 */
export function monotonicViolations(sights: readonly CounterSight[]): Violation[] {
  const byKey = new Map<Name, CounterSight[]>();
  for (const sight of sights) {
    const others = byKey.get(sight.key);
    if (others === undefined) byKey.set(sight.key, [sight]);
    else others.push(sight);
  }
  const violations: Violation[] = [];
  for (const all of byKey.values()) {
    let highest: CounterSight | undefined;
    for (const sight of all.sort(inOrder)) {
      const violation = highest === undefined ? undefined : violationOf(highest, sight);
      if (violation !== undefined) violations.push(violation);
      if (highest === undefined || sight.value >= highest.value) highest = sight;
    }
  }
  return violations;
}
