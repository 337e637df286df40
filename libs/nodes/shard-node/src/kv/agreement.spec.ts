import { describe, expect, it } from '@jest/globals';
import { RowKind, timestamp } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import {
  encodeVersionToken,
  expiryToUnixMs,
  GarbageCollector,
  isVersionLiveAt,
  RowCache,
  rowCacheKey,
  VisibleReader,
  type VersionRecord,
  type VersionRow,
} from '@cairn/mvcc';
import { keysIn, modelWrites, rowsOf, visibleIn, type ModelWrite } from '@cairn/mvcc/testing';
import { unpackRows, type KvRow } from '@cairn/wire';
import fc from 'fast-check';

import { ColdReads } from './cold-reads.js';
import { PackedRowSink } from './packed-row-sink.js';
import { ScanCachePage } from './scan-cache-page.js';

/*
 * Goal: whoever looks at a row sees the same one, of several steps at one timestamp, too. Method: a naive
 * model looks at all writes; scans in both directions, point reads and cached pages look at the engine rows
 * that these writes leave, before and after garbage was collected.
 */

const TS_MAX = 26;
const NOTHING_DUE = { key: undefined, endKey: undefined, limit: 1_000, bytesMax: 1e9 };

const bytesOf = (key: string): Buffer => Buffer.from(key, 'latin1');

/** As they come through a log: in the order of their timestamps, and of their sequences within one. */
const inLogOrder = modelWrites.map((writes) =>
  writes.toSorted(({ version: one }, { version: other }) => {
    return one.timestamp - other.timestamp || one.sequence - other.sequence;
  }),
);

function rowOf(key: string, version: VersionRecord): KvRow {
  return {
    key: bytesOf(key),
    value: version.kind === RowKind.bytes ? Buffer.from(version.value) : Buffer.alloc(0),
    version: encodeVersionToken(version.timestamp, version.sequence),
    kind: version.kind,
    expiresUnixMs: expiryToUnixMs(version.expiry),
  };
}

function modelScan(writes: readonly ModelWrite[], ts: number): KvRow[] {
  return keysIn(writes).flatMap((key) => {
    const version = visibleIn(writes, key, ts);
    return version === undefined ? [] : [rowOf(key, version)];
  });
}

function scan(rows: readonly VersionRow[], ts: number, reverse = false): PackedRowSink {
  const sink = new PackedRowSink({ keysOnly: false, pageBytes: 1e6 });
  const options = { readTimestamp: timestamp(ts), reverse, sink, limit: 1_000, pageBytes: 1e9 };
  const reader = new VisibleReader(options);
  reader.push(reverse ? rows.toReversed() : rows);
  reader.finish();
  return sink;
}

async function engineWith(rows: readonly VersionRow[]): Promise<MemoryEngine> {
  const engine = new MemoryEngine();
  const batch = engine.newBatch();
  for (const [key, record] of rows) batch.put(key, record);
  await engine.write(batch);
  return engine;
}

describe('scans and point reads', () => {
  it('see what the model sees, also when garbage below their timestamp is gone', async () => {
    await fc.assert(
      fc.asyncProperty(inLogOrder, fc.nat(TS_MAX), fc.nat(TS_MAX), async (writes, ts, anyPoint) => {
        const all = rowsOf(writes);
        const collector = new GarbageCollector(timestamp(Math.min(ts, anyPoint)));
        collector.push(all);
        collector.finish();
        const garbage = new Set(collector.keys);
        for (const rows of [all, all.filter(([key]) => !garbage.has(key))]) {
          const wanted = modelScan(writes, ts);
          expect(unpackRows(scan(rows, ts).take())).toEqual(wanted);
          expect(unpackRows(scan(rows, ts, true).take())).toEqual(wanted.toReversed());
          const reads = new ColdReads(await engineWith(rows), new RowCache(0));
          for (const key of keysIn(writes)) {
            const found = await reads.at(bytesOf(key), timestamp(ts));
            const live = found !== undefined && isVersionLiveAt(found, ts) ? [rowOf(key, found)] : [];
            expect(live).toEqual(wanted.filter((row) => bytesOf(key).equals(row.key)));
          }
        }
      }),
      { numRuns: 400 },
    );
  });

  it('of what is newest see the highest step of the highest timestamp', async () => {
    await fc.assert(
      fc.asyncProperty(inLogOrder, async (writes) => {
        const reads = new ColdReads(await engineWith(rowsOf(writes)), new RowCache(0));
        for (const key of keysIn(writes)) {
          const newest = writes.findLast((write) => write.key === key)?.version;
          expect(await reads.newest(rowCacheKey(bytesOf(key)), bytesOf(key))).toEqual(newest);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('a page that is kept', () => {
  it('sees what the model sees at every later timestamp, or says that it does not know', () => {
    let ready = 0;
    fc.assert(
      fc.property(
        inLogOrder,
        fc.nat(TS_MAX),
        fc.array(fc.nat(TS_MAX), { maxLength: 4 }),
        (writes, at, later) => {
          const sink = scan(rowsOf(writes), at);
          const { firstExpiry } = sink;
          const packed = sink.take();
          const page = new ScanCachePage(
            { start: '', end: undefined },
            { packed, at: timestamp(at), firstExpiry },
            0,
          );
          for (const { key, version } of writes) {
            if (version.timestamp > at && !page.note(rowCacheKey(bytesOf(key)), version)) return;
          }
          for (const ts of later.filter((each) => each >= at).toSorted((one, other) => one - other)) {
            const state = page.bringTo(timestamp(ts));
            if (state === 'expired') return;
            if (state === 'too-old') continue;
            ready += 1;
            expect(unpackRows(page.slice(NOTHING_DUE).rows)).toEqual(modelScan(writes, ts));
          }
        },
      ),
      { numRuns: 2_000 },
    );
    expect(ready).toBeGreaterThan(500);
  });
});
