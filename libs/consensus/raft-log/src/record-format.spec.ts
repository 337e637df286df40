import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, term } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import type { Entry } from '@cairn/raft';
import fc from 'fast-check';
import { encodeVote } from './range-state.js';
import {
  decodeRecordHeader,
  encodeRecord,
  ENTRY_HEADER_BYTES,
  entryFromRecord,
  entryRecord,
  indexOfRecord,
  rangeIdOfRecord,
  RecordType,
} from './record-format.js';

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

  it('has the bytes that are written down for every type', () => {
    const fields = { kind: 0, rangeId: rangeId(1), index: logIndex(2), term: term(3) };
    const payload = encodeVote({ term: term(3), vote: replicaId(4), commit: logIndex(2) });
    const written = [
      [RecordType.hardState, payload, '0400000000000000'],
      [RecordType.checkpoint, Buffer.from('state'), '7374617465'],
      [RecordType.truncate, Buffer.alloc(0), ''],
      [RecordType.reset, Buffer.alloc(0), ''],
      [RecordType.removeRange, Buffer.alloc(0), ''],
    ] as const;
    for (const [type, body, hex] of written) {
      const record = encodeRecord({ ...fields, type }, body);
      const head = `c4010${type}00` + '010000000000' + '020000000000' + '030000000000' + '0000';
      expect(record.subarray(4).toString('hex')).toBe(`${head}0${hex.length / 2}000000${hex}`);
      expect(record.readUInt32LE(0)).toBe(crc32(record.subarray(4)));
      expect(decodeRecordHeader(record)).toEqual({ ...fields, type });
    }
  });

  it('of a later release is no damage, and what no release wrote is', () => {
    const entry: Entry = { index: logIndex(1), term: term(1), kind: 0, payload: Buffer.from('p') };
    const changed = (at: number, value: number): Buffer => {
      const record = Buffer.from(entryRecord(rangeId(1), { ...entry }));
      record[at] = value;
      record.writeUInt32LE(crc32(record.subarray(4)), 0);
      return record;
    };
    const [magic, version, type, kind] = [4, 5, 6, 7];
    for (const record of [changed(version, 2), changed(type, 7), changed(kind, 3)]) {
      expect(() => entryFromRecord(record)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    }
    for (const record of [changed(magic, 0), changed(version, 0), changed(type, 0), changed(type, 3)]) {
      expect(() => entryFromRecord(record)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
    }
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
