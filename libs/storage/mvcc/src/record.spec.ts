import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import fc from 'fast-check';
import { encodeVersionKey } from './version-key.js';
import {
  checkRow,
  decodeRecord,
  encodeRow,
  isRecordLiveAt,
  isVersionLiveAt,
  kindOfRecord,
  recordLength,
  sequenceOfRecord,
  startOfRecord,
  valueOfRecord,
  type VersionRecord,
} from './record.js';

const version: fc.Arbitrary<VersionRecord> = fc
  .record({
    timestamp: fc.maxSafeNat().map(timestamp),
    sequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    expiry: fc.oneof(fc.constant(0), fc.maxSafeNat()).map(timestamp),
    tombstone: fc.boolean(),
    kind: fc.constantFrom(0, 0, 1, 255),
    value: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  })
  .map((made) => (made.tombstone ? { ...made, kind: 0, value: Buffer.alloc(0) } : made));

const KEY = encodeVersionKey(Buffer.from('key'), timestamp(9), 0);

function encode(made: VersionRecord, start = timestamp(0)): Buffer {
  return encodeRow(KEY, made, start)[1];
}

/** Of the key and the record without checksum, in hexadecimal. */
function checksumOf(made: VersionRecord, start = timestamp(0)): string {
  const record = Buffer.from(encode(made, start));
  record.fill(0, 5, 9);
  return crc32(Buffer.concat([KEY, record]))
    .toString(16)
    .padStart(8, '0');
}

describe('records', () => {
  it('have the bytes that are written down', () => {
    const plain = {
      timestamp: timestamp(9),
      sequence: 7,
      expiry: timestamp(0),
      tombstone: false,
      kind: 0,
      value: Buffer.from('v'),
    };
    expect(encode(plain).toString('hex')).toBe('00' + '00000007' + checksumOf(plain) + '76');
    const expiring = { ...plain, expiry: timestamp(2 ** 32 + 1) };
    expect(encode(expiring).toString('hex')).toBe(
      '02' + '00000007' + checksumOf(expiring) + '0000000100000001' + '76',
    );
    const tombstone = { ...plain, tombstone: true, value: Buffer.alloc(0) };
    expect(encode(tombstone).toString('hex')).toBe('01' + '00000007' + checksumOf(tombstone));
    const hash = { ...plain, kind: 1 };
    expect(encode(hash).toString('hex')).toBe('04' + '00000007' + checksumOf(hash) + '01' + '76');
    const start = timestamp(2 ** 32 + 2);
    expect(encode(tombstone, start).toString('hex')).toBe(
      '09' + '00000007' + checksumOf(tombstone, start) + '0000000100000002',
    );
    const all = { ...expiring, kind: 255 };
    expect(encode(all, start).toString('hex')).toBe(
      '0e' + '00000007' + checksumOf(all, start) + '0000000100000001' + 'ff' + '0000000100000002' + '76',
    );
  });

  it('come back as they went in, as views', () => {
    fc.assert(
      fc.property(version, fc.maxSafeNat(), fc.constantFrom(0, 1, 2 ** 53 - 1), (made, readTs, begun) => {
        const start = timestamp(begun);
        const bytes = encode(made, start);
        expect(bytes).toHaveLength(recordLength(made, start));
        expect(startOfRecord(bytes)).toBe(start);
        expect(kindOfRecord(bytes)).toBe(made.kind);
        expect(decodeRecord(made.timestamp, bytes)).toEqual(made);
        expect(sequenceOfRecord(bytes)).toBe(made.sequence);
        expect(valueOfRecord(bytes)).toEqual(made.value);
        expect(isRecordLiveAt(bytes, readTs)).toBe(isVersionLiveAt(made, readTs));
      }),
      { seed: 3, numRuns: 2000 },
    );
  });

  it('are absent from their expiry on, not before', () => {
    const bytes = encode({
      timestamp: timestamp(1),
      sequence: 0,
      expiry: timestamp(10),
      tombstone: false,
      kind: 0,
      value: Buffer.alloc(0),
    });
    expect([9, 10, 11].map((readTs) => isRecordLiveAt(bytes, readTs))).toEqual([true, false, false]);
  });

  it('refuse unknown flags and short input', () => {
    for (const hex of [
      '',
      '00',
      '00000000',
      '1000000000',
      '0400000000',
      '040000000000000000',
      // A kind that no flag is for, and one of a tombstone.
      '040000000000000000' + '00',
      '050000000000000000' + '01',
      '02000000000000000000',
      '020000000000000000' + 'ff'.repeat(8),
      '020000000000000000' + '00'.repeat(8),
    ]) {
      const bytes = Buffer.from(hex, 'hex');
      expect(() => decodeRecord(timestamp(1), bytes)).toThrow(
        expect.objectContaining({ code: 'CORRUPTION' }),
      );
    }
  });

  it('without a whole start of their transaction are none', () => {
    for (const start of ['', '00'.repeat(7), '00'.repeat(8), 'ff'.repeat(8)]) {
      const bytes = Buffer.from('080000000000000000' + start, 'hex');
      expect(() => startOfRecord(bytes)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
    }
  });

  it('say of flags that are not known that a later release wrote them', () => {
    for (const flags of [16, 17, 32, 64, 128, 255]) {
      const bytes = Buffer.alloc(9 + 8 + 1 + 8);
      bytes[0] = flags;
      expect(() => decodeRecord(timestamp(1), bytes)).toThrow(
        expect.objectContaining({ code: 'FORMAT_TOO_NEW' }),
      );
    }
  });

  it('are known to be damaged whichever bit of key or record flips, and when they stand for another key', () => {
    const rows = fc.sample(version, { numRuns: 20, seed: 5 });
    for (const made of rows) {
      const record = encode(made);
      checkRow(KEY, record);
      for (let bit = 0; bit < record.length * 8; bit += 1) {
        const flipped = Buffer.from(record);
        flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        expect(() => checkRow(KEY, flipped)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
      }
      const otherKey = encodeVersionKey(Buffer.from('kez'), timestamp(9), 0);
      expect(() => checkRow(otherKey, record)).toThrow('checksum');
      expect(() => checkRow(KEY, record.subarray(0, 4))).toThrow('checksum');
    }
  });
});
