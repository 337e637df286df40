import { describe, expect, it } from '@jest/globals';
import { RowKind, timestamp, type Timestamp } from '@cairn/base';
import fc from 'fast-check';
import {
  encodeIncarnation,
  encodeMemberKey,
  encodeMembersForm,
  incarnationNamedBy,
  incarnationOfMember,
} from './member-key.js';
import { Namespace, ROW_NAMESPACES } from './namespace.js';
import { encodeRow } from './record.js';
import {
  encodeVersionKey,
  keyPrefixIn,
  rowSpansOf,
  timestampOfVersionedKey,
  userKeyEndOf,
} from './version-key.js';

const bytes = fc
  .array(fc.oneof(fc.constantFrom(0, 1, 0xff), fc.integer({ min: 0, max: 255 })), { maxLength: 8 })
  .map((found) => Buffer.from(found));
const anyTimestamp: fc.Arbitrary<Timestamp> = fc.maxSafeNat().map(timestamp);
const sequence = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const member = fc.record({
  userKey: bytes,
  incarnation: fc.tuple(anyTimestamp, sequence).map(([ts, of]) => encodeIncarnation(ts, of)),
  tag: fc.integer({ min: 0, max: 255 }),
  sub: bytes,
});
const corrupt = expect.objectContaining({ code: 'CORRUPTION' });

function recordOf(kind: RowKind, value: Buffer): Buffer {
  const key = encodeVersionKey(Buffer.from('k'), timestamp(9), 0);
  const version = { timestamp: timestamp(9), sequence: 0, expiry: timestamp(0), tombstone: false };
  return encodeRow(key, { ...version, kind, value })[1];
}

describe('keys of members', () => {
  it('have the bytes that are written down', () => {
    const incarnation = encodeIncarnation(timestamp(1), 2 ** 21);
    expect(incarnation.toString('hex')).toBe('0000000000000801');
    const name = { userKey: Buffer.from([0x61, 0]), incarnation, tag: 3, sub: Buffer.from([0x62, 0]) };
    expect(encodeMemberKey(name, timestamp(2), 0).toString('hex')).toBe(
      '13' + '6100ff0001' + '0000000000000801' + '03' + '6200ff0001' + 'ffffffffffffefff',
    );
  });

  it('tell their user key, their incarnation and their timestamp, and lie in the span of the user key', () => {
    fc.assert(
      fc.property(member, anyTimestamp, sequence, (name, ts, of) => {
        const key = encodeMemberKey(name, ts, of);
        expect(key.subarray(0, userKeyEndOf(key))).toEqual(keyPrefixIn(Namespace.members, name.userKey));
        expect(incarnationOfMember(key)).toEqual(name.incarnation);
        expect(timestampOfVersionedKey(key)).toBe(ts);
        const spans = rowSpansOf(name.userKey, Buffer.concat([name.userKey, Buffer.of(0)]));
        const { start, end } = spans[ROW_NAMESPACES.indexOf(Namespace.members)] as (typeof spans)[number];
        expect(Buffer.compare(key, start) > 0 && Buffer.compare(key, end) < 0).toBe(true);
      }),
    );
  });

  it('sort by user key, incarnation, tag and sub key, then newest first', () => {
    const placed = fc.record({ name: member, ts: anyTimestamp });
    fc.assert(
      fc.property(placed, placed, fc.nat(4), (one, any, shared) => {
        const other = {
          ts: any.ts,
          name: {
            userKey: shared > 0 ? one.name.userKey : any.name.userKey,
            incarnation: shared > 1 ? one.name.incarnation : any.name.incarnation,
            tag: shared > 2 ? one.name.tag : any.name.tag,
            sub: shared > 3 ? one.name.sub : any.name.sub,
          },
        };
        const wanted =
          Buffer.compare(one.name.userKey, other.name.userKey) ||
          Buffer.compare(one.name.incarnation, other.name.incarnation) ||
          one.name.tag - other.name.tag ||
          Buffer.compare(one.name.sub, other.name.sub) ||
          other.ts - one.ts;
        const keyOf = ({ name, ts }: typeof one): Buffer => encodeMemberKey(name, ts, 0);
        expect(Math.sign(Buffer.compare(keyOf(one), keyOf(other))) + 0).toBe(Math.sign(wanted) + 0);
      }),
    );
  });

  it('are refused when they end before they tell all that', () => {
    const key = encodeMemberKey(
      { userKey: Buffer.from('k'), incarnation: Buffer.alloc(8), tag: 1, sub: Buffer.alloc(0) },
      timestamp(1),
      0,
    );
    for (let length = 0; length < key.length; length += 1) {
      expect(() => incarnationOfMember(key.subarray(0, length))).toThrow(corrupt);
    }
    expect(() => userKeyEndOf(Buffer.from('13610002', 'hex'))).toThrow(corrupt);
  });
});

describe('the header of a collection', () => {
  it('names the incarnation of its members, or says that it has none', () => {
    const incarnation = encodeIncarnation(timestamp(7), 0);
    const named = recordOf(RowKind.set, Buffer.concat([encodeMembersForm(incarnation), Buffer.from('rest')]));
    expect(incarnationNamedBy(named)).toEqual(incarnation);
    expect(incarnationNamedBy(recordOf(RowKind.set, Buffer.from([0, 1, 2])))).toBe('none');
    expect(incarnationNamedBy(recordOf(RowKind.bytes, encodeMembersForm(incarnation)))).toBe('none');
  });

  it('of a form that is not known may name anything', () => {
    expect(incarnationNamedBy(recordOf(RowKind.hash, Buffer.from([2])))).toBe('unknown');
    for (const value of [Buffer.alloc(0), Buffer.alloc(8, 1)]) {
      expect(() => incarnationNamedBy(recordOf(RowKind.hash, value))).toThrow(corrupt);
    }
  });
});
