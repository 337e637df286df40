import type { Violation } from '../violation.js';

/** Exit codes of `check`. */
export const EXIT = { holds: 0, violated: 1, badInput: 2, undecided: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Where a judge says what it found. */
export interface Speech {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
}

/** Violations of one name that are told; the others are counted. */
const TOLD_MAX = 20;

export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** Tells violations one a line, and what was looked at. */
export function tellViolations(violations: readonly Violation[], looked: string, { out }: Speech): ExitCode {
  const counts = new Map<string, number>();
  for (const { name, explanation } of violations) {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    if (count <= TOLD_MAX) out(`${name}: ${explanation}\n`);
  }
  if (violations.length === 0) {
    out(`no violations: ${looked}\n`);
    return EXIT.holds;
  }
  out(`${looked}: ${[...counts].map(([name, count]) => `${name} ${count}`).join(', ')}\n`);
  return EXIT.violated;
}
