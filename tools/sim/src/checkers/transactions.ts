import {
  commitOfTransactionRow,
  isRowKey,
  Namespace,
  readEscapedKey,
  startOfRecord,
  timestampOfVersionedKey,
  userKeyEndOf,
} from '@cairn/mvcc';

import type { ReplicaState } from './replicas.js';

/** Where a transaction stands in the rows of all replicas. */
interface Traces {
  /** Where versions of its lie. */
  readonly versions: { readonly at: number; readonly place: string }[];
  /** Where records say that it committed. */
  readonly commits: Map<number, string>;
  /** Where it is marked as rolled back. */
  rolledBack: string | undefined;
}

/**
 * What rows say about transactions, over all ranges: one that left versions has them all at one timestamp, is
 * nowhere marked as rolled back, and where a record of it is left that says the same. Records are
 * collected in the end, and transactions of one range have none. `collectedBelow`: of starts below it,
 * records may have been collected; a rollback that comes so late leaves a mark that nobody asks for.
 */
export function transactionFaults(states: readonly ReplicaState[], collectedBelow = 0): string[] {
  const all = new Map<number, Traces>();
  const tracesOf = (start: number): Traces => {
    let traces = all.get(start);
    if (traces === undefined) {
      traces = { versions: [], commits: new Map(), rolledBack: undefined };
      all.set(start, traces);
    }
    return traces;
  };
  for (const { node, rangeId, rows } of states) {
    for (const [hex, record] of rows) {
      const key = Buffer.from(hex, 'hex');
      if (!isRowKey(key)) continue;
      const value = Buffer.from(record, 'hex');
      const start = startOfRecord(value);
      if (start === 0) continue;
      const place = `${placeOf(key)} (range ${rangeId} at ${node})`;
      if (key[0] === Namespace.versions)
        tracesOf(start).versions.push({ at: timestampOfVersionedKey(key), place });
      if (key[0] !== Namespace.transactions) continue;
      const commit = commitOfTransactionRow(value);
      if (commit > 0) tracesOf(start).commits.set(commit, place);
      else tracesOf(start).rolledBack = place;
    }
  }
  return [...all].flatMap(([start, traces]) => faultsOf(start, traces, start < collectedBelow));
}

function faultsOf(
  start: number,
  { versions, commits, rolledBack }: Traces,
  mayBeCollected: boolean,
): string[] {
  const faults: string[] = [];
  const [first] = versions;
  const [record] = commits;
  if (commits.size > 1) faults.push(`transaction ${start} committed at ${[...commits.keys()].join(' and ')}`);
  const wrote = first === undefined ? record : ([first.at, first.place] as const);
  const isForgotten = mayBeCollected && record === undefined;
  if (rolledBack !== undefined && wrote !== undefined && !isForgotten)
    faults.push(`transaction ${start} committed in ${wrote[1]} and was rolled back in ${rolledBack}`);
  const expected = record?.[0] ?? first?.at;
  const other = versions.find(({ at }) => at !== expected);
  if (other !== undefined)
    faults.push(`transaction ${start} wrote ${other.place} at ${other.at}, and committed at ${expected}`);
  return faults;
}

/** Locks of keys that begin with the prefix, which nothing should have left. */
export function lockFaults({ node, rangeId, rows }: ReplicaState, prefix: string): string[] {
  const faults: string[] = [];
  for (const [hex, record] of rows) {
    const key = Buffer.from(hex, 'hex');
    if (key[0] !== Namespace.locks) continue;
    const userKey = placeOf(key);
    if (!userKey.startsWith(prefix)) continue;
    const start = startOfRecord(Buffer.from(record, 'hex'));
    faults.push(`range ${rangeId} at ${node} has a lock of transaction ${start} on ${userKey}`);
  }
  return faults;
}

/** The user key, for people. */
function placeOf(key: Buffer): string {
  return readEscapedKey(key, 1, userKeyEndOf(key)).toString('latin1');
}
