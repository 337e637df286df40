import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import fc from 'fast-check';
import { encodeVersionKey } from './version-key.js';
import { rowOf } from './model.testing.js';
import {
  checkRow,
  decodeRecord,
  isRecordLiveAt,
  isVersionLiveAt,
  sequenceOfRecord,
  valueOfRecord,
  type VersionRecord,
} from './record.js';

const version: fc.Arbitrary<VersionRecord> = fc
  .record({
    timestamp: fc.maxSafeNat().map(timestamp),
    sequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    expiry: fc.oneof(fc.constant(0), fc.maxSafeNat()).map(timestamp),
    tombstone: fc.boolean(),
    value: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  })
  .map((made) => (made.tombstone ? { ...made, value: Buffer.alloc(0) } : made));

const KEY = encodeVersionKey(Buffer.from('key'), timestamp(9), 0);

function encode(made: VersionRecord): Buffer {
  return rowOf(KEY, made)[1];
}

/** Of the key and the record without checksum, in hexadecimal. */
function checksumOf(made: VersionRecord): string {
  const record = Buffer.from(encode(made));
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
      value: Buffer.from('v'),
    };
    expect(encode(plain).toString('hex')).toBe('00' + '00000007' + checksumOf(plain) + '76');
    const expiring = { ...plain, expiry: timestamp(2 ** 32 + 1) };
    expect(encode(expiring).toString('hex')).toBe(
      '02' + '00000007' + checksumOf(expiring) + '0000000100000001' + '76',
    );
    const tombstone = { ...plain, tombstone: true, value: Buffer.alloc(0) };
    expect(encode(tombstone).toString('hex')).toBe('01' + '00000007' + checksumOf(tombstone));
  });

  it('come back as they went in, as views', () => {
    fc.assert(
      fc.property(version, fc.maxSafeNat(), (made, readTs) => {
        const bytes = encode(made);
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
      value: Buffer.alloc(0),
    });
    expect([9, 10, 11].map((readTs) => isRecordLiveAt(bytes, readTs))).toEqual([true, false, false]);
  });

  it('refuse unknown flags and short input', () => {
    for (const hex of [
      '',
      '00',
      '00000000',
      '100000000000000000',
      '0400000000',
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

  it('say of flags that are reserved that a later release wrote them', () => {
    for (const flags of [4, 5, 8, 12, 15]) {
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
