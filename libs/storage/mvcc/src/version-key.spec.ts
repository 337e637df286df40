import { describe, expect, it } from '@jest/globals';
import { timestamp, type Timestamp } from '@cairn/base';
import fc from 'fast-check';
import { Namespace } from './namespace.js';
import { successorOf } from './user-key.js';
import {
  decodeVersionKey,
  encodeKeyPrefix,
  encodeVersionKey,
  hasKeyPrefix,
  isSameChain,
  isStepOf,
  seekKeyOf,
  timestampOfVersionKey,
  versionSpanOf,
} from './version-key.js';
import { compareVersionTokens, decodeVersionToken, encodeVersionToken } from './version-token.js';

/** Keys full of the bytes that escaping cares about. */
const userKey = fc
  .array(fc.oneof(fc.constantFrom(0, 1, 0xfe, 0xff), fc.integer({ min: 0, max: 255 })), { maxLength: 12 })
  .map((bytes) => Buffer.from(bytes));
const anyTimestamp: fc.Arbitrary<Timestamp> = fc
  .oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER))
  .map(timestamp);
const anySequence = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  fc.constantFrom(0, 2 ** 21 - 1, 2 ** 21, 2 ** 32 - 1),
);
const runs = { seed: 20_260_102, numRuns: 2000 };

describe('version keys', () => {
  it('have the bytes that are written down', () => {
    const hex = (key: Buffer, ts: number, sequence: number): string =>
      encodeVersionKey(key, timestamp(ts), sequence).toString('hex');
    expect(hex(Buffer.from('ab'), 1, 0)).toBe('106162' + '0001' + 'fffffffffffff7ff');
    expect(hex(Buffer.from('ab'), 1, 2 ** 21 - 1)).toBe('106162' + '0001' + 'fffffffffffff7ff');
    expect(hex(Buffer.from('ab'), 1, 2 ** 21)).toBe('106162' + '0001' + 'fffffffffffff7fe');
    expect(hex(Buffer.from('ab'), 1, 2 ** 32 - 1)).toBe('106162' + '0001' + 'fffffffffffff000');
    expect(hex(Buffer.from([0, 0x61, 0]), Number.MAX_SAFE_INTEGER, 2 ** 32 - 1)).toBe(
      '10' + '00ff' + '61' + '00ff' + '0001' + '0000000000000000',
    );
    expect(hex(Buffer.alloc(0), 2 ** 32, 0)).toBe('10' + '0001' + 'fffff7ffffffffff');
    expect(seekKeyOf(Buffer.from('ab'), timestamp(1)).toString('hex')).toBe(
      '106162' + '0001' + 'fffffffffffff000',
    );
    expect(encodeKeyPrefix(Buffer.from('ab')).toString('hex')).toBe('1061620001');
  });

  it('come back as they went in', () => {
    fc.assert(
      fc.property(userKey, anyTimestamp, anySequence, (key, ts, sequence) => {
        const engineKey = encodeVersionKey(key, ts, sequence);
        expect(decodeVersionKey(engineKey)).toEqual({ userKey: key, timestamp: ts });
        expect(timestampOfVersionKey(engineKey)).toBe(ts);
        expect(hasKeyPrefix(engineKey, encodeKeyPrefix(key))).toBe(true);
        expect(isStepOf(engineKey, sequence)).toBe(true);
        expect(isStepOf(engineKey, (sequence + 2 ** 21) % 2 ** 32)).toBe(false);
      }),
      runs,
    );
  });

  it('sort by user key, then newest first, by step within a timestamp', () => {
    const version = fc.record({ key: userKey, ts: anyTimestamp, sequence: anySequence });
    fc.assert(
      fc.property(version, version, fc.boolean(), (one, any, isSameTime) => {
        const other = isSameTime ? { ...any, key: one.key, ts: one.ts } : any;
        const keyOf = ({ key, ts, sequence }: typeof one): Buffer => encodeVersionKey(key, ts, sequence);
        const step = ({ sequence }: typeof one): number => Math.floor(sequence / 2 ** 21);
        const wanted = Buffer.compare(one.key, other.key) || other.ts - one.ts || step(other) - step(one);
        expect(Math.sign(Buffer.compare(keyOf(one), keyOf(other)))).toBe(Math.sign(wanted) + 0);
      }),
      runs,
    );
  });

  it('of all steps at or below a timestamp lie behind its place to seek, and no other', () => {
    fc.assert(
      fc.property(userKey, anyTimestamp, anyTimestamp, anySequence, (key, ts, seekTs, sequence) => {
        const isBehind = Buffer.compare(encodeVersionKey(key, ts, sequence), seekKeyOf(key, seekTs)) >= 0;
        expect(isBehind).toBe(ts <= seekTs);
      }),
      runs,
    );
  });

  it('know their neighbours', () => {
    fc.assert(
      fc.property(userKey, userKey, anyTimestamp, anyTimestamp, (one, other, oneTs, otherTs) => {
        const same = one.equals(other);
        expect(isSameChain(encodeVersionKey(one, oneTs, 0), encodeVersionKey(other, otherTs, 9e8))).toBe(
          same,
        );
        expect(hasKeyPrefix(encodeVersionKey(one, oneTs, 0), encodeKeyPrefix(other))).toBe(same);
      }),
      runs,
    );
  });

  it('lie in the span of their range exactly', () => {
    fc.assert(
      fc.property(userKey, userKey, userKey, anyTimestamp, (start, end, key, ts) => {
        const span = versionSpanOf(start, end);
        const engineKey = encodeVersionKey(key, ts, 7);
        const isInside =
          Buffer.compare(engineKey, span.start) >= 0 && Buffer.compare(engineKey, span.end) < 0;
        const isWanted =
          Buffer.compare(key, start) >= 0 && (end.length === 0 || Buffer.compare(key, end) < 0);
        expect(isInside).toBe(isWanted);
      }),
      runs,
    );
    expect(versionSpanOf(Buffer.alloc(0), Buffer.alloc(0)).end).toEqual(Buffer.of(Namespace.versions + 1));
  });

  it('refuse bytes that no encoder wrote', () => {
    const good = encodeVersionKey(Buffer.from([1, 0, 2]), timestamp(5), 0);
    const damaged: Buffer[] = [
      good.subarray(0, 10),
      Buffer.alloc(0),
      Buffer.concat([Buffer.of(0x11), good.subarray(1)]),
      Buffer.concat([good.subarray(0, 3), Buffer.of(0x07), good.subarray(4)]),
      Buffer.concat([good.subarray(0, 5), Buffer.of(0x00, 0x02), good.subarray(7)]),
    ];
    for (const bytes of damaged) {
      expect(() => decodeVersionKey(bytes)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
    }
  });

  it('have no key between one and its successor', () => {
    fc.assert(
      fc.property(userKey, userKey, (key, other) => {
        const next = successorOf(key);
        expect(Buffer.compare(key, next)).toBe(-1);
        expect(Buffer.compare(other, key) > 0 && Buffer.compare(other, next) < 0).toBe(false);
      }),
      runs,
    );
  });
});

describe('version tokens', () => {
  it('come back, and sort bytewise in the order of writes', () => {
    const token = fc.record({ timestamp: anyTimestamp, sequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }) });
    fc.assert(
      fc.property(token, token, (one, other) => {
        const bytes = encodeVersionToken(one.timestamp, one.sequence);
        expect(bytes).toHaveLength(12);
        expect(decodeVersionToken(bytes)).toEqual(one);
        const order = Buffer.compare(bytes, encodeVersionToken(other.timestamp, other.sequence));
        expect(Math.sign(compareVersionTokens(one, other)) + 0).toBe(order);
      }),
      runs,
    );
  });

  it('refuse what a client made up', () => {
    for (const bytes of [Buffer.alloc(11), Buffer.alloc(13), Buffer.alloc(12, 0xff)]) {
      expect(() => decodeVersionToken(bytes)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    }
  });
});
