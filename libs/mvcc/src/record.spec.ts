import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import fc from 'fast-check';
import {
  decodeRecord,
  encodeRecord,
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

describe('records', () => {
  it('have the bytes that are written down', () => {
    const plain = {
      timestamp: timestamp(9),
      sequence: 7,
      expiry: timestamp(0),
      tombstone: false,
      value: Buffer.from('v'),
    };
    expect(encodeRecord(plain).toString('hex')).toBe('00' + '00000007' + '76');
    expect(encodeRecord({ ...plain, expiry: timestamp(2 ** 32 + 1) }).toString('hex')).toBe(
      '02' + '00000007' + '0000000100000001' + '76',
    );
    expect(encodeRecord({ ...plain, tombstone: true, value: Buffer.alloc(0) }).toString('hex')).toBe(
      '01' + '00000007',
    );
  });

  it('come back as they went in, as views', () => {
    fc.assert(
      fc.property(version, fc.maxSafeNat(), (made, readTs) => {
        const bytes = encodeRecord(made);
        expect(decodeRecord(made.timestamp, bytes)).toEqual(made);
        expect(sequenceOfRecord(bytes)).toBe(made.sequence);
        expect(valueOfRecord(bytes)).toEqual(made.value);
        expect(isRecordLiveAt(bytes, readTs)).toBe(isVersionLiveAt(made, readTs));
      }),
      { seed: 3, numRuns: 2000 },
    );
  });

  it('are absent from their expiry on, not before', () => {
    const bytes = encodeRecord({
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
      '0400000000',
      '020000000000000000',
      '0200000000' + 'ff'.repeat(8),
      '0200000000' + '00'.repeat(8),
    ]) {
      const bytes = Buffer.from(hex, 'hex');
      expect(() => decodeRecord(timestamp(1), bytes)).toThrow(
        expect.objectContaining({ code: 'CORRUPTION' }),
      );
    }
  });
});
