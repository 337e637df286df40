import { describe, expect, it } from '@jest/globals';
import { CairnError, logIndex, rangeId, term } from '@cairn/base';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';
import fc from 'fast-check';
import { openRaftLog, type RaftLog } from './index.js';
import { encodeRecord, type RecordType } from './record-format.js';
import {
  alignBlock,
  encodeBlockHeader,
  encodeSegmentHeader,
  mixDigest,
  saltFrom,
  startDigest,
} from './segment-format.js';

// Goal: whatever records a disk holds, with every checksum right, the log opens and can be read, or says
// CORRUPTION with the file and the place. Method: random records in random blocks of one segment.

const PATH = '/log/segment-0000000001.log';
const SALT = saltFrom(Buffer.from('salted'));

interface AnyRecord {
  readonly type: number;
  readonly kind: number;
  readonly range: number;
  readonly index: number;
  readonly term: number;
  readonly payload: Uint8Array;
}

function recordOf(one: AnyRecord): Buffer {
  const fields = {
    type: one.type as RecordType,
    kind: one.kind,
    rangeId: rangeId(one.range),
    index: logIndex(one.index),
    term: term(one.term),
  };
  return encodeRecord(fields, one.payload);
}

function segmentOf(blocks: readonly (readonly AnyRecord[])[]): Buffer {
  const parts: Buffer[] = [encodeSegmentHeader({ epoch: 1, previousEnd: 0, salt: SALT })];
  for (const [sequence, records] of blocks.entries()) {
    const encoded = records.map(recordOf);
    const body = Buffer.concat(encoded);
    let digest = startDigest(SALT, 1, sequence);
    for (const record of encoded) digest = mixDigest(digest, record.readUInt32LE(0));
    const header = Buffer.alloc(32);
    const fields = { epoch: 1, sequence, bodyBytes: body.length, recordCount: records.length, digest };
    encodeBlockHeader(header, fields, SALT);
    parts.push(header, body, Buffer.alloc(alignBlock(32 + body.length) - 32 - body.length));
  }
  return Buffer.concat([...parts, Buffer.alloc(4096)]);
}

async function readAll(log: RaftLog): Promise<void> {
  for (const id of log.rangeIds()) {
    const range = log.range(id);
    for (let next = range.firstIndex(); next <= range.lastIndex(); next = logIndex(next + 1)) {
      const end = logIndex(next + 1);
      if (range.entries(next, end, 1) === 'loading') await range.load(next, end, 1, () => undefined);
      range.termOf(next);
    }
  }
}

const anyRecord: fc.Arbitrary<AnyRecord> = fc.record({
  type: fc.integer({ min: 0, max: 8 }),
  kind: fc.integer({ min: 0, max: 4 }),
  range: fc.integer({ min: 1, max: 2 }),
  index: fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constant(2 ** 48 - 1)),
  term: fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant(2 ** 48 - 1)),
  payload: fc.oneof(fc.constant(new Uint8Array(8)), fc.uint8Array({ maxLength: 20 })),
});

describe('a log that is opened', () => {
  it('opens with any records whose checksums are right, or names the file and the place', async () => {
    let opened = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(anyRecord, { minLength: 1, maxLength: 4 }), { maxLength: 6 }),
        async (blocks) => {
          const disk = new SimDisk(new SimRng(1)).attach();
          await disk.makeDirectory('/log');
          const file = await disk.open(PATH, { mode: 'write', durableWrites: true });
          await file.write([segmentOf(blocks)], 0);
          try {
            const log = await openRaftLog({
              ...{ disk, directory: '/log', logger: noopLogger, metrics: noopMetrics },
              clock: new SimScheduler().clockFor('test'),
              rng: new SimRng('log'),
              options: { segmentBytes: 8192, cacheBytesMax: 100 },
            });
            await readAll(log);
            await log.close();
            opened += 1;
          } catch (error) {
            if (!CairnError.is(error)) throw error;
            const isLater = blocks.flat().some(({ type, kind }) => type > 6 || (type === 1 && kind > 2));
            expect(isLater ? ['CORRUPTION', 'FORMAT_TOO_NEW'] : ['CORRUPTION']).toContain(error.code);
            expect(error.details['path']).toBe(PATH);
            expect(error.details['offset']).toBeGreaterThanOrEqual(0);
          }
        },
      ),
      { seed: 11, numRuns: 2000 },
    );
    expect(opened).toBeGreaterThan(300);
  });

  it('counts no copy of a segment under another spelling of its number', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    await disk.makeDirectory('/log');
    const file = await disk.open('/log/segment-00000000001.log', { mode: 'write', durableWrites: true });
    await file.write([Buffer.alloc(8192, 7)], 0);
    const log = await openRaftLog({
      ...{ disk, directory: '/log', logger: noopLogger, metrics: noopMetrics },
      clock: new SimScheduler().clockFor('test'),
      rng: new SimRng('log'),
      options: { segmentBytes: 8192 },
    });
    expect(log.rangeIds()).toEqual([]);
  });
});
