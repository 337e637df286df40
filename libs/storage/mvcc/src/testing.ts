import { timestamp } from '@cairn/base';
import fc from 'fast-check';
import { encodeRow, type VersionRecord } from './record.js';
import { encodeVersionKey } from './version-key.js';
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
