import { nameText, type Name } from '../transactions.js';
import type { Violation } from '../violation.js';

/** An element that somebody added to the set. */
export interface SetAdd {
  readonly element: Name;
  /** `info` also for what was acknowledged only after the final read had begun. */
  readonly outcome: 'ok' | 'fail' | 'info';
  /** Tells people where it is in the history. */
  readonly where: string;
}

/**
 * The final read shows every element that was acknowledged, none that failed, any of those with an unknown
 * outcome, and nothing else. An element that was added several times may be there if any of them may.
 *
 * Names: `lost`, `failed-and-there`, `never-added`, `twice`.
 */
export function setViolations(adds: readonly SetAdd[], finalRead: readonly Name[]): Violation[] {
  const there = new Set<Name>();
  const violations: Violation[] = [];
  for (const element of finalRead) {
    if (there.has(element)) {
      violations.push({ name: 'twice', explanation: `${nameText(element)} is there more than once` });
    }
    there.add(element);
  }
  const possible = new Set<Name>();
  const failed = new Map<Name, SetAdd>();
  for (const add of adds) {
    const { element, outcome, where } = add;
    if (outcome === 'fail') failed.set(element, add);
    else possible.add(element);
    if (outcome === 'ok' && !there.has(element)) {
      const explanation = `${nameText(element)} was acknowledged (${where}) and is not there`;
      violations.push({ name: 'lost', explanation });
    }
  }
  for (const element of there) {
    if (possible.has(element)) continue;
    const add = failed.get(element);
    const name = add === undefined ? 'never-added' : 'failed-and-there';
    const why = add === undefined ? 'nobody added' : `failed (${add.where})`;
    violations.push({ name, explanation: `${nameText(element)} is there, which ${why}` });
  }
  return violations;
}
