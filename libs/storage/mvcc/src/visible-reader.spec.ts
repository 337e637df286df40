import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import fc from 'fast-check';
import { keysIn, modelWrites, rowsOf, visibleIn, type ModelWrite } from './testing.js';
import { isVersionLiveAt } from './record.js';
import { encodeKeyPrefix, seekKeyOf, timestampOfVersionKey, versionSpanOf } from './version-key.js';
import { decodeVersionToken } from './version-token.js';
import { VisibleReader, VisibleRows, versionOfRow, type VersionRow } from './visible-reader.js';

interface Seen {
  readonly key: string;
  readonly value: string;
  readonly sequence: number;
}

function expected(writes: readonly ModelWrite[], readTs: number): Seen[] {
  return keysIn(writes).flatMap((key) => {
    const found = visibleIn(writes, key, readTs);
    return found === undefined
      ? []
      : [{ key, value: Buffer.from(found.value).toString('latin1'), sequence: found.sequence }];
  });
}

function seenBy(sink: VisibleRows): Seen[] {
  return sink.rows.map((row) => ({
    key: row.key.toString('latin1'),
    value: row.value.toString('latin1'),
    sequence: decodeVersionToken(row.version).sequence,
  }));
}

function feed(reader: VisibleReader, rows: readonly VersionRow[], chunk: number): boolean {
  for (let at = 0; at < rows.length; at += chunk) {
    if (reader.push(rows.slice(at, at + chunk))) return true;
  }
  reader.finish();
  return false;
}

/** Rows of a page that starts at a resume key, as an engine iterator would deliver them. */
function rowsFrom(rows: readonly VersionRow[], resume: Buffer | undefined, reverse: boolean): VersionRow[] {
  const none = Buffer.alloc(0);
  if (!reverse) {
    const span = versionSpanOf(resume ?? none, none);
    return rows.filter(([key]) => Buffer.compare(key, span.start) >= 0);
  }
  const ordered = rows.toReversed();
  return resume === undefined
    ? ordered
    : ordered.filter(([key]) => Buffer.compare(key, encodeKeyPrefix(resume)) < 0);
}

const readTimestamp = fc.integer({ min: 0, max: 26 });
const runs = { seed: 20_260_103, numRuns: 1500 };

describe('VisibleReader', () => {
  it('sees what the model sees, both ways, however rows arrive', () => {
    fc.assert(
      fc.property(
        modelWrites,
        readTimestamp,
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        (writes, ts, chunk, reverse) => {
          const sink = new VisibleRows();
          const newer: VersionRow[] = [];
          const reader = new VisibleReader({
            readTimestamp: timestamp(ts),
            reverse,
            sink,
            onNewer: (row) => newer.push(row),
            limit: 1000,
            pageBytes: 1e9,
          });
          const rows = rowsFrom(rowsOf(writes), undefined, reverse);
          expect(feed(reader, rows, chunk)).toBe(false);
          const all = expected(writes, ts);
          expect(seenBy(sink)).toEqual(reverse ? all.toReversed() : all);
          expect(reader.examined).toBe(rows.length);
          const above = rows.filter(([key]) => timestampOfVersionKey(key) > ts);
          expect(newer).toEqual(reverse ? [] : above);
        },
      ),
      runs,
    );
  });

  it('pages without losing or repeating a row', () => {
    fc.assert(
      fc.property(
        modelWrites,
        readTimestamp,
        fc.record({
          limit: fc.integer({ min: 1, max: 4 }),
          pageBytes: fc.integer({ min: 1, max: 80 }),
          reverse: fc.boolean(),
        }),
        (writes, ts, { limit, pageBytes, reverse }) => {
          const rows = rowsOf(writes);
          const seen: Seen[] = [];
          let resume: Buffer | undefined;
          for (;;) {
            const sink = new VisibleRows();
            const reader = new VisibleReader({
              readTimestamp: timestamp(ts),
              reverse,
              sink,
              limit,
              pageBytes,
            });
            const isFull = feed(reader, rowsFrom(rows, resume, reverse), 3);
            seen.push(...seenBy(sink));
            expect(sink.count).toBeLessThanOrEqual(limit);
            if (!isFull) break;
            resume = reader.resumeKey();
          }
          const all = expected(writes, ts);
          expect(seen).toEqual(reverse ? all.toReversed() : all);
        },
      ),
      runs,
    );
  });

  it('can be cut after any number of versions and resumed', () => {
    fc.assert(
      fc.property(
        modelWrites,
        readTimestamp,
        fc.integer({ min: 0, max: 40 }),
        fc.boolean(),
        (writes, ts, cut, reverse) => {
          const sink = new VisibleRows();
          const options = { readTimestamp: timestamp(ts), reverse, sink, limit: 1000, pageBytes: 1e9 };
          const rows = rowsOf(writes);
          const first = new VisibleReader(options);
          first.push(rowsFrom(rows, undefined, reverse).slice(0, cut));
          const second = new VisibleReader(options);
          feed(second, rowsFrom(rows, first.resumeKey(), reverse), 4);
          const all = expected(writes, ts);
          expect(seenBy(sink)).toEqual(reverse ? all.toReversed() : all);
        },
      ),
      runs,
    );
  });

  it('leaves values out when only keys are wanted', () => {
    const write: ModelWrite = {
      key: 'k',
      version: {
        timestamp: timestamp(3),
        sequence: 1,
        expiry: timestamp(0),
        tombstone: false,
        kind: 0,
        value: Buffer.from('v'),
      },
    };
    const sink = new VisibleRows({ keysOnly: true });
    const reader = new VisibleReader({ readTimestamp: timestamp(3), sink, limit: 1, pageBytes: 1 });
    expect(reader.push(rowsOf([write]))).toBe(true);
    expect(sink.rows[0]?.value).toHaveLength(0);
    expect(reader.resumeKey()).toEqual(Buffer.from('k\0'));
  });
});

describe('versionOfRow', () => {
  it('reads a point as the model does', () => {
    fc.assert(
      fc.property(
        modelWrites,
        readTimestamp,
        fc.constantFrom('', 'a', 'a\0', 'ab', 'c'),
        (writes, ts, key) => {
          const userKey = Buffer.from(key, 'latin1');
          const target = seekKeyOf(userKey, timestamp(ts));
          const row = rowsOf(writes).find(([engineKey]) => Buffer.compare(engineKey, target) >= 0);
          const version = versionOfRow(row, encodeKeyPrefix(userKey));
          const live = version !== undefined && isVersionLiveAt(version, ts) ? version : undefined;
          expect(live).toEqual(visibleIn(writes, key, ts));
        },
      ),
      runs,
    );
  });
});
