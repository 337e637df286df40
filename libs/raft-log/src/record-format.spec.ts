import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, term } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import type { Entry } from '@cairn/raft';
import fc from 'fast-check';
import { ENTRY_HEADER_BYTES, entryFromRecord, entryHeader, indexOfHeader, rangeIdOfHeader } from './index.js';

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
    const header = entryHeader(rangeId(0x0a0b0c0d0e0f), entry);
    expect(Buffer.from(header).toString('hex')).toBe(
      'cad0d605' + 'c4010101' + '0f0e0d0c0b0a' + '060504030201' + '070000000000' + '0000' + '06000000',
    );
    expect(entryHeader(rangeId(1), entry)).toBe(header);
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
          const header = entryHeader(rangeId(id), entry);
          const record = Buffer.concat([header, payload]);
          expect(record.readUInt32LE(0)).toBe(crc32(record.subarray(4)));
          expect([rangeIdOfHeader(header), indexOfHeader(header)]).toEqual([id, index]);
          const again = entryFromRecord(header, payload);
          expect(again).toEqual({ ...entry, header });
          const at = flip % record.length;
          record[at] = (record[at] as number) ^ (1 << (flip % 8));
          const split = ENTRY_HEADER_BYTES;
          expect(() => entryFromRecord(record.subarray(0, split), record.subarray(split))).toThrow(
            'checksum',
          );
        },
      ),
      { seed: 7, numRuns: 300 },
    );
  });
});
