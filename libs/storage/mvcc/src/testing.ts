import { RowKind, timestamp } from '@cairn/base';
import fc from 'fast-check';
import { encodeLockRow, LockRowOp } from './lock-row.js';
import { encodeIncarnation, encodeMemberKey, encodeMembersForm } from './member-key.js';
import { Namespace } from './namespace.js';
import { encodeRow, NO_EXPIRY, type VersionRecord } from './record.js';
import { encodeTransactionRow } from './transaction-row.js';
import { encodeVersionKey, keyPrefixIn, userKeyEndOf } from './version-key.js';
import type { VersionRow } from './visible-reader.js';

/** One write of the naive model. */
export interface ModelWrite {
  readonly key: string;
  readonly version: VersionRecord;
}

/** Of the record's sequence, the top eleven bits are the step. */
const SEQUENCES_PER_STEP = 2 ** 21;

const stepOf = ({ sequence }: VersionRecord): number => Math.floor(sequence / SEQUENCES_PER_STEP);

/**
 * Few keys, few timestamps, few steps: collisions are what tests want. The last write of a key at a step of a
 * timestamp stands.
 */
export const modelWrites: fc.Arbitrary<ModelWrite[]> = fc
  .array(
    fc.record({
      key: fc.constantFrom('', 'a', 'a\0', 'a\0b', 'ab', 'b', '\xff'),
      ts: fc.integer({ min: 1, max: 20 }),
      sequence: fc
        .tuple(fc.constantFrom(0, 0, 1, 2, 2047), fc.integer({ min: 0, max: 1000 }))
        .map(([step, within]) => step * SEQUENCES_PER_STEP + within),
      expiry: fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 1, max: 25 })),
      tombstone: fc.integer({ min: 0, max: 3 }).map((side) => side === 0),
      kind: fc.constantFrom(0, 0, 0, 1, 5),
    }),
    { maxLength: 40 },
  )
  .map((made) =>
    made.map(({ key, ts, sequence, expiry, tombstone, kind }) => ({
      key,
      version: {
        timestamp: timestamp(ts),
        sequence,
        expiry: timestamp(expiry),
        tombstone,
        kind: tombstone ? 0 : kind,
        value: Buffer.from(tombstone ? '' : `${key}@${ts}#${sequence}`, 'latin1'),
      },
    })),
  );

/** The engine rows that the writes leave, in key order. */
export function rowsOf(writes: readonly ModelWrite[]): VersionRow[] {
  const rows = new Map<string, VersionRow>();
  for (const { key, version } of writes) {
    const engineKey = encodeVersionKey(Buffer.from(key, 'latin1'), version.timestamp, version.sequence);
    rows.set(engineKey.toString('latin1'), encodeRow(engineKey, version));
  }
  return [...rows.values()].sort(([one], [other]) => Buffer.compare(one, other));
}

/** What a reader at `readTs` must see of a key, by looking at everything. */
export function visibleIn(
  writes: readonly ModelWrite[],
  key: string,
  readTs: number,
): VersionRecord | undefined {
  let newest: VersionRecord | undefined;
  for (const write of writes) {
    if (write.key !== key || write.version.timestamp > readTs) continue;
    if (newest === undefined || !isBefore(write.version, newest)) newest = write.version;
  }
  if (newest === undefined || newest.tombstone) return undefined;
  return newest.expiry !== 0 && newest.expiry <= readTs ? undefined : newest;
}

/** Of versions at one step of one timestamp neither is before the other. */
function isBefore(one: VersionRecord, other: VersionRecord): boolean {
  return one.timestamp === other.timestamp ? stepOf(one) < stepOf(other) : one.timestamp < other.timestamp;
}

/** The keys of the model, sorted as bytes. */
export function keysIn(writes: readonly ModelWrite[]): string[] {
  return [...new Set(writes.map(({ key }) => key))].sort();
}

/** Rows that `rowsInEveryNamespace` makes, by namespace. */
const ROWS_PER_KEY = {
  [Namespace.versions]: 1,
  [Namespace.locks]: 1,
  [Namespace.transactions]: 2,
  [Namespace.members]: 2,
} as const;

/** A set with two members, a lock, and what became of two transactions: as other doors will write them. */
export function rowsInEveryNamespace(key: string): VersionRow[] {
  const userKey = Buffer.from(key);
  const at = timestamp(7);
  const version = { timestamp: at, sequence: 0, expiry: NO_EXPIRY, tombstone: false };
  const said = (text: string): VersionRecord => {
    return { ...version, kind: RowKind.bytes, value: Buffer.from(`${text} of ${key}`) };
  };
  const incarnation = encodeIncarnation(at, 0);
  const header = { ...version, kind: RowKind.set, value: encodeMembersForm(incarnation) };
  const lock = {
    ...{ start: at, op: LockRowOp.put, minCommit: timestamp(8), ttlMs: 0 },
    // Nobody takes it for one that was left.
    deadline: timestamp(Number.MAX_SAFE_INTEGER),
    ...{ primary: userKey, value: Buffer.from('locked') },
  };
  const member = (sub: string): VersionRow =>
    encodeRow(encodeMemberKey({ userKey, incarnation, tag: 1, sub: Buffer.from(sub) }, at, 0), said(sub));
  return [
    encodeRow(encodeVersionKey(userKey, at, 0), header, timestamp(3)),
    encodeLockRow(userKey, lock),
    encodeTransactionRow(userKey, timestamp(3), at),
    encodeTransactionRow(userKey, timestamp(4), timestamp(0)),
    member('one'),
    member('two'),
  ];
}

/** How many rows of each namespace there are, by user key. */
export function rowCounts(rows: readonly VersionRow[]): Record<string, Record<number, number>> {
  const counts: Record<string, Record<number, number>> = {};
  for (const [key] of rows) {
    const prefix = key.subarray(1, userKeyEndOf(key)).toString('latin1');
    const of = (counts[prefix] ??= {});
    of[key[0] ?? 0] = (of[key[0] ?? 0] ?? 0) + 1;
  }
  return counts;
}

/** What `rowCounts` says of keys that have all their rows. */
export function wholeCounts(keys: readonly string[]): Record<string, Record<number, number>> {
  const prefixOf = (key: string): string =>
    keyPrefixIn(Namespace.versions, Buffer.from(key)).toString('latin1', 1);
  return Object.fromEntries(keys.map((key) => [prefixOf(key), { ...ROWS_PER_KEY }]));
}
