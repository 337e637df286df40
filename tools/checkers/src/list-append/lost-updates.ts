import { nameText, type Transaction } from '../transactions.js';
import { listText, told, type Clock } from './explain.js';
import type { Findings } from './findings.js';
import { NOWHERE, type KeyOrder } from './key-order.js';

/** Transactions shown of those that updated one version. */
const SHOWN_MAX = 4;

/** Where several transactions read the same version of a key and all of them appended to it. */
export function findLostUpdates(
  { history: { key, appends, reads }, elements, positions }: KeyOrder,
  transactions: readonly Transaction[],
  { findings, clock }: { readonly findings: Findings; readonly clock: Clock },
): void {
  const writers = new Set<number>();
  for (const { by } of appends.values()) writers.add(by);
  const updaters = new Map<number, Set<number>>();
  for (const [at, { by }] of reads.entries()) {
    const position = positions[at] as number;
    if (position === NOWHERE || !writers.has(by)) continue;
    const others = updaters.get(position);
    if (others === undefined) updaters.set(position, new Set([by]));
    else others.add(by);
  }
  for (const [position, all] of updaters) {
    if (all.size < 2) continue;
    findings.add('lost-update', () => {
      const shown = [...all].slice(0, SHOWN_MAX);
      const names = shown.map((_, at) => `T${at + 1}`).join(' and ');
      const more = all.size > shown.length ? ` (and ${all.size - shown.length} more)` : '';
      const version = listText(elements.slice(0, position));
      return told(
        shown.map((by) => transactions[by] as Transaction),
        [`${names}${more} read ${nameText(key)} as ${version}, and all appended to it`],
        clock,
      );
    });
  }
}
