import { timestamp, type MicroBenchmark } from '@cairn/base';
import { recordLength, writeRecordOf, type VersionRecord } from './record.js';
import { encodeVersionKey } from './version-key.js';
import { VisibleReader, VisibleRows, type VersionRow } from './visible-reader.js';

const KEYS = 1_000;

function rowOf(key: Buffer, at: number): VersionRow {
  const version: VersionRecord = {
    timestamp: timestamp(at),
    sequence: at,
    expiry: timestamp(0),
    tombstone: false,
    kind: 0,
    value: Buffer.alloc(256, 'v'),
  };
  const record = Buffer.alloc(recordLength(version));
  const engineKey = encodeVersionKey(key, version.timestamp, version.sequence);
  const both = Buffer.concat([engineKey, record]);
  writeRecordOf(both, { keyAt: 0, recordAt: engineKey.length }, version);
  return [engineKey, both.subarray(engineKey.length)];
}

/** Newest version first, as an engine delivers them. */
function rowsWith(versions: number): VersionRow[] {
  return Array.from({ length: KEYS }, (_, at) => Buffer.from(`k${String(at).padStart(15, '0')}`)).flatMap(
    (key) => Array.from({ length: versions }, (_, version) => rowOf(key, versions - version)),
  );
}

function read(versions: number): MicroBenchmark {
  const rows = rowsWith(versions);
  return {
    name: `a visible row of ${versions === 1 ? '1 version' : `${versions} versions`}`,
    operations: KEYS,
    run: () => {
      const sink = new VisibleRows();
      const reader = new VisibleReader({
        readTimestamp: timestamp(1_000),
        sink,
        limit: KEYS + 1,
        pageBytes: 64 * 1024 * 1024,
      });
      reader.push(rows);
      reader.finish();
      return sink.rows.length;
    },
  };
}

/** What a scan does for each row. */
export function benchmarks(): MicroBenchmark[] {
  return [1, 8].map(read);
}
