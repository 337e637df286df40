import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, term } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import type { Entry } from '@cairn/raft';
import fc from 'fast-check';
import { ENTRY_HEADER_BYTES, entryFromRecord, entryRecord, indexOfRecord, rangeIdOfRecord } from './index.js';

// The bytes of a record are on disks and on the wire: the golden vector may never change under format version
// 1.

describe('record format', () => {
  it('matches the golden vector', () => {
    const entry: Entry = {
      index: logIndex(0x010203040506),
      term: term(7),
      kind: 1,
      payload: Buffer.from('golden'),
    };
    const record = entryRecord(rangeId(0x0a0b0c0d0e0f), entry);
    expect(Buffer.from(record.subarray(0, ENTRY_HEADER_BYTES)).toString('hex')).toBe(
      'cad0d605' + 'c4010101' + '0f0e0d0c0b0a' + '060504030201' + '070000000000' + '0000' + '06000000',
    );
    expect(Buffer.from(record.subarray(ENTRY_HEADER_BYTES)).toString()).toBe('golden');
    expect(entryRecord(rangeId(1), entry)).toBe(record);
  });

  it('round-trips, carries the zlib CRC, and notices every flipped bit', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 48 - 1 }),
        fc.integer({ min: 1, max: 2 ** 48 - 1 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(),
        (id, index, payload, flip) => {
          const entry: Entry = { index: logIndex(index), term: term(3), kind: 2, payload };
          const record = Buffer.from(entryRecord(rangeId(id), entry));
          expect(record.readUInt32LE(0)).toBe(crc32(record.subarray(4)));
          expect([rangeIdOfRecord(record), indexOfRecord(record)]).toEqual([id, index]);
          expect(entryFromRecord(record)).toEqual({ ...entry, payload: Buffer.from(payload), record });
          const at = flip % record.length;
          record[at] = (record[at] as number) ^ (1 << (flip % 8));
          expect(() => entryFromRecord(record)).toThrow('checksum');
        },
      ),
      { seed: 7, numRuns: 300 },
    );
  });
});
