import { nameText, type Name } from '../transactions.js';
import type { Violation } from '../violation.js';

/** A key is written once in a history. */
export interface SingleWrite {
  readonly key: Name;
  readonly value: Name;
  readonly outcome: 'ok' | 'fail' | 'info';
  /** Tells people where it is in the history. */
  readonly where: string;
}

/** Several keys, read in one transaction; undefined where nothing was there. */
export interface GroupRead {
  readonly where: string;
  readonly values: ReadonlyMap<Name, Name | undefined>;
}

function presentIn({ values }: GroupRead): number {
  let count = 0;
  for (const value of values.values()) if (value !== undefined) count += 1;
  return count;
}

/** A key that the one read has and the other has not. */
function onlyIn({ values }: GroupRead, other: GroupRead): Name | undefined {
  for (const [key, value] of values) {
    if (value !== undefined && other.values.get(key) === undefined) return key;
  }
  return undefined;
}

/** What no read may show, whatever the others do. */
function wrongValues(writes: readonly SingleWrite[], reads: readonly GroupRead[]): Violation[] {
  const written = new Map<Name, SingleWrite>();
  for (const write of writes) {
    if (written.has(write.key))
      throw new RangeError(`${nameText(write.key)} is written twice (${write.where})`);
    written.set(write.key, write);
  }
  const violations: Violation[] = [];
  for (const { where, values } of reads) {
    for (const [key, value] of values) {
      const write = written.get(key);
      if (value === undefined || (write?.value === value && write.outcome !== 'fail')) continue;
      const shows = `${where} shows ${nameText(value)} in ${nameText(key)}`;
      if (write?.value === value) {
        violations.push({ name: 'aborted-read', explanation: `${shows}, which failed (${write.where})` });
      } else violations.push({ name: 'garbage-read', explanation: `${shows}, which nobody wrote` });
    }
  }
  return violations;
}

/**
 * Snapshots grow: of two reads of the same keys, one shows all that the other shows. In a long fork each
 * shows a write that the other misses. Sorted by how much they show, it is enough to compare neighbours.
 *
 * Names: `long-fork`, `garbage-read`, `aborted-read`.
 *
 * @throws RangeError when a key is written twice: nobody could tell the writes apart.
 */
export function longForkViolations(writes: readonly SingleWrite[], reads: readonly GroupRead[]): Violation[] {
  const violations = wrongValues(writes, reads);
  const groups = new Map<string, GroupRead[]>();
  for (const read of reads) {
    const group = JSON.stringify([...read.values.keys()].map((key) => JSON.stringify(key)).sort());
    const others = groups.get(group);
    if (others === undefined) groups.set(group, [read]);
    else others.push(read);
  }
  for (const group of groups.values()) {
    const counted = group.map((read) => ({ read, count: presentIn(read) })).sort((a, b) => a.count - b.count);
    for (const [at, { read }] of counted.slice(1).entries()) {
      const before = (counted[at] as { readonly read: GroupRead }).read;
      const [missed, shown] = [onlyIn(before, read), onlyIn(read, before)];
      if (missed === undefined || shown === undefined) continue;
      violations.push({
        name: 'long-fork',
        explanation:
          `${before.where} shows ${nameText(missed)} and not ${nameText(shown)}, ` +
          `${read.where} shows ${nameText(shown)} and not ${nameText(missed)}`,
      });
    }
  }
  return violations;
}
