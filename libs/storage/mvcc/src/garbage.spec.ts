import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import fc from 'fast-check';
import { GarbageCollector, collectGarbage, type ChainFate } from './garbage.js';
import { encodeMemberKey } from './member-key.js';
import { decodeRecord, encodeRow } from './record.js';
import { keysIn, modelWrites, rowsOf } from './testing.js';
import { timestampOfVersionKey, userKeyOfVersionKey, versionSpanOf } from './version-key.js';
import { VisibleReader, VisibleRows, type VersionRow } from './visible-reader.js';

function readAll(rows: readonly VersionRow[], readTs: number): string[] {
  const sink = new VisibleRows();
  const reader = new VisibleReader({ readTimestamp: timestamp(readTs), sink, limit: 1000, pageBytes: 1e9 });
  reader.push(rows);
  reader.finish();
  return sink.rows.map(
    (row) => `${row.key.toString('hex')}=${row.value.toString('hex')}@${row.version.toString('hex')}`,
  );
}

function without(rows: readonly VersionRow[], keys: readonly Buffer[]): VersionRow[] {
  const gone = new Set(keys.map((key) => key.toString('hex')));
  return rows.filter(([key]) => !gone.has(key.toString('hex')));
}

const safePoints = fc.integer({ min: 0, max: 22 });
const runs = { seed: 20_260_104, numRuns: 800 };

describe('GarbageCollector', () => {
  it('changes no read at or above the safe point, whatever prefix of it is applied', () => {
    fc.assert(
      fc.property(modelWrites, safePoints, (writes, safePoint) => {
        const rows = rowsOf(writes);
        const collector = new GarbageCollector(timestamp(safePoint));
        collector.push(rows);
        collector.finish();
        for (let count = 0; count <= collector.keys.length; count += 1) {
          const left = without(rows, collector.keys.slice(0, count));
          for (let ts = safePoint; ts <= 26; ts += 1) expect(readAll(left, ts)).toEqual(readAll(rows, ts));
        }
        expect(collector.chains).toBe(keysIn(writes).length);
      }),
      { ...runs, numRuns: 200 },
    );
  });

  it('leaves at most one version at or below the safe point, and it is live there', () => {
    fc.assert(
      fc.property(modelWrites, safePoints, (writes, safePoint) => {
        const rows = rowsOf(writes);
        for (const key of keysIn(writes)) {
          const userKey = Buffer.from(key, 'latin1');
          const span = versionSpanOf(userKey, Buffer.concat([userKey, Buffer.of(0)]));
          const chain = rows.filter(
            ([at]) => Buffer.compare(at, span.start) >= 0 && Buffer.compare(at, span.end) < 0,
          );
          const left = without(chain, collectGarbage(chain, timestamp(safePoint)));
          const above = left.filter((row) => readAll([row], safePoint).length === 0);
          const below = rowsOf(
            writes.filter((write) => write.key === key && write.version.timestamp > safePoint),
          );
          expect(above.map(([at]) => at)).toEqual(below.map(([at]) => at));
          expect(left.length - below.length).toBeLessThanOrEqual(1);
        }
      }),
      runs,
    );
  });

  it('reaches the same end in small commands', () => {
    fc.assert(
      fc.property(modelWrites, safePoints, fc.integer({ min: 1, max: 5 }), (writes, safePoint, keysMax) => {
        let rows = rowsOf(writes);
        const whole = new GarbageCollector(timestamp(safePoint));
        whole.push(rows);
        whole.finish();
        const wanted = without(rows, whole.keys);
        let resume: Buffer | undefined = Buffer.alloc(0);
        for (let command = 0; resume !== undefined; command += 1) {
          expect(command).toBeLessThan(100);
          const start: Buffer = versionSpanOf(resume, Buffer.alloc(0)).start;
          const collector: GarbageCollector = new GarbageCollector(timestamp(safePoint), { keysMax });
          const isFull: boolean = collector.push(rows.filter(([key]) => Buffer.compare(key, start) >= 0));
          collector.finish();
          expect(collector.keys.length).toBeLessThanOrEqual(keysMax);
          const before = rows;
          rows = without(rows, collector.keys);
          for (let ts = safePoint; ts <= 26; ts += 1) expect(readAll(rows, ts)).toEqual(readAll(before, ts));
          resume = isFull ? collector.resumeKey() : undefined;
        }
        expect(rows).toEqual(wanted);
      }),
      { ...runs, numRuns: 300 },
    );
  });

  it('leaves chains alone that are kept, and of dead ones only what is above the safe point', () => {
    const fates = fc.array(fc.constantFrom<ChainFate>('versions', 'kept', 'dead'), {
      minLength: 7,
      maxLength: 7,
    });
    fc.assert(
      fc.property(modelWrites, safePoints, fates, fc.boolean(), (writes, safePoint, drawn, isOfMembers) => {
        const names = keysIn(writes);
        const fateOfKey = (key: Buffer): ChainFate =>
          drawn[names.indexOf(userKeyOfVersionKey(key).toString('latin1'))] ?? 'versions';
        const versions = rowsOf(writes);
        const asked: string[] = [];
        const rows = isOfMembers ? versions.map(asMember) : versions;
        const collector = new GarbageCollector(timestamp(safePoint), {
          fateOf: (key) => {
            asked.push(key.toString('hex'));
            const at = rows.findIndex((row) => row[0].equals(key));
            return fateOfKey((versions[at] as VersionRow)[0]);
          },
        });
        collector.push(rows);
        collector.finish();
        expect(asked).toHaveLength(names.length);
        const found = collector.keys.map((key) => rows.findIndex((row) => row[0].equals(key)));
        const wanted = names.flatMap((name, at) => {
          const chain = versions.filter(([key]) => userKeyOfVersionKey(key).toString('latin1') === name);
          switch (drawn[at] as ChainFate) {
            case 'kept':
              return [];
            case 'dead':
              return chain.filter(([key]) => timestampOfVersionKey(key) <= safePoint).map(([key]) => key);
            case 'versions':
              return [...collectGarbage(chain, timestamp(safePoint))];
          }
        });
        expect(found.map((at) => (versions[at] as VersionRow)[0])).toEqual(wanted);
      }),
      { ...runs, numRuns: 300 },
    );
  });
});

/** The version as that of a member: its key goes on, and its checksum is that of the other key. */
function asMember([key, record]: VersionRow): VersionRow {
  const ts = timestampOfVersionKey(key);
  const version = decodeRecord(ts, record);
  const name = {
    userKey: userKeyOfVersionKey(key),
    incarnation: Buffer.alloc(8, 3),
    tag: 0,
    sub: Buffer.alloc(2),
  };
  return encodeRow(encodeMemberKey(name, ts, version.sequence), version);
}
