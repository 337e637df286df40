import { describe, expect, it } from '@jest/globals';
import { NO_BYTES, timestamp } from '@cairn/base';
import fc from 'fast-check';

import { NO_READ_ROW } from './kv-factories.js';
import {
  decodeReservation,
  encodeReservation,
  RESERVE_KEYS_MAX,
  RESERVE_TTL_MS_MAX,
  RESERVE_WAIT_MS_MAX,
  WAITS_FOR_OWNERS_MAX,
} from './reserve-codec.js';
import {
  LockPolicy,
  LockStrength,
  type ReservationCommand,
  type ReservedReply,
  type ReserveCommand,
} from './reserve-messages.js';
import { decodeTxnReply, encodeTxnReply } from './txn-codec.js';

const bytes = fc.uint8Array({ maxLength: 12 }).map((found) => Buffer.from(found));
const time = fc.maxSafeNat().map(timestamp);
const token = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((found) => Buffer.from(found));
const text = (characters: string): Buffer => Buffer.from(characters);

const command: fc.Arbitrary<ReservationCommand> = fc.oneof(
  fc.record({
    type: fc.constant('reserve' as const),
    owner: time,
    strength: fc.constantFrom(...Object.values(LockStrength)),
    keys: fc.array(bytes, { maxLength: 5 }),
    waitMs: fc.nat(RESERVE_WAIT_MS_MAX),
    policy: fc.constantFrom(...Object.values(LockPolicy)),
    ttlMs: fc.nat(RESERVE_TTL_MS_MAX),
  }),
  fc.record({
    type: fc.constant('release' as const),
    owner: time,
    keys: fc.array(bytes, { maxLength: 5 }),
  }),
);

const row = fc.oneof(
  fc.constant(NO_READ_ROW),
  fc.record({
    found: fc.constant(true),
    value: bytes,
    version: token,
    kind: fc.nat(255),
    expiresUnixMs: fc.maxSafeNat(),
  }),
);

const reply: fc.Arbitrary<ReservedReply> = fc.record({
  type: fc.constant('reserved' as const),
  rows: fc.array(fc.record({ isReserved: fc.boolean(), row, newest: time }), { maxLength: 4 }),
  waitsFor: fc.option(fc.record({ key: bytes, owners: fc.array(time, { maxLength: 4 }) }), {
    nil: undefined,
  }),
});

const RESERVE: ReserveCommand = {
  ...{ type: 'reserve', owner: timestamp(5), strength: LockStrength.exclusive, keys: [text('k')] },
  ...{ waitMs: 300, policy: LockPolicy.wait, ttlMs: 10_000 },
};

describe('commands of reservations', () => {
  it('come back as they were, and so do their replies', () => {
    fc.assert(
      fc.property(command, reply, (one, answer) => {
        expect(decodeReservation(encodeReservation(one))).toEqual(one);
        expect(decodeTxnReply(encodeTxnReply(answer))).toEqual(answer);
      }),
      { numRuns: 300 },
    );
    expect(decodeTxnReply(encodeTxnReply({ type: 'released' }))).toEqual({ type: 'released' });
  });

  it('answer garbled input with CORRUPTION, or with something whole, never with another error', () => {
    const encoded = fc.oneof(command.map(encodeReservation), reply.map(encodeTxnReply));
    fc.assert(
      fc.property(encoded, fc.nat(), fc.nat(255), (body, at, flip) => {
        const flipped = Buffer.from(body);
        flipped[at % body.length] = flip;
        for (const garbled of [flipped, body.subarray(0, at % body.length)]) {
          for (const decode of [decodeReservation, decodeTxnReply]) {
            try {
              decode(garbled);
            } catch (thrown) {
              expect(thrown).toMatchObject({ code: 'CORRUPTION' });
            }
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('refuse what no honest peer sends', () => {
    const refused: [Partial<ReserveCommand>, string][] = [
      [{ strength: 4 as LockStrength }, 'a lock of strength 4'],
      [{ strength: 0 as LockStrength }, 'a lock of strength 0'],
      [{ policy: 0 as LockPolicy }, 'a lock of policy 0'],
      [{ policy: 4 as LockPolicy }, 'a lock of policy 4'],
      [{ waitMs: RESERVE_WAIT_MS_MAX + 1 }, 'with 1001 ms'],
      [{ ttlMs: RESERVE_TTL_MS_MAX + 1 }, 'with 60001 ms'],
      [{ keys: new Array<Buffer>(RESERVE_KEYS_MAX + 1).fill(text('k')) }, 'reserves 257 keys'],
    ];
    for (const [part, wanted] of refused) {
      expect(() => decodeReservation(encodeReservation({ ...RESERVE, ...part }))).toThrow(wanted);
    }
    const body = encodeReservation(RESERVE);
    expect(() => decodeReservation(Buffer.concat([body, Buffer.of(0)]))).toThrow('1 bytes left over');
    expect(() => decodeReservation(Buffer.concat([Buffer.of(3), body.subarray(1)]))).toThrow('tag 3');
    const tooMany = Buffer.concat([
      Buffer.from('0d0001', 'hex'),
      Buffer.from('016b' + '41', 'hex'),
      Buffer.alloc(8 * (WAITS_FOR_OWNERS_MAX + 1)),
    ]);
    expect(() => decodeTxnReply(tooMany)).toThrow('65 owners in the way');
    const rows = Buffer.concat([Buffer.from('0d8102', 'hex'), Buffer.alloc(10 * 257 + 1)]);
    expect(() => decodeTxnReply(rows)).toThrow('257 reserved rows');
  });

  it('name no more owners than a reply may have', () => {
    const owners = Array.from({ length: WAITS_FOR_OWNERS_MAX + 9 }, (_none, at) => timestamp(at));
    const told = decodeTxnReply(
      encodeTxnReply({ type: 'reserved', rows: [], waitsFor: { key: text('k'), owners } }),
    );
    expect(told).toMatchObject({ waitsFor: { owners: owners.slice(0, WAITS_FOR_OWNERS_MAX) } });
  });

  it('keep their layout', () => {
    expect(encodeReservation(RESERVE).toString('hex')).toBe(
      '01' + '0500000000000000' + '03' + '01016b' + 'ac02' + '01' + '904e',
    );
    expect(
      encodeReservation({ type: 'release', owner: timestamp(5), keys: [text('k')] }).toString('hex'),
    ).toBe('02' + '0500000000000000' + '01016b');
    const rows = [{ isReserved: true, row: NO_READ_ROW, newest: timestamp(6) }];
    const waitsFor = { key: text('k'), owners: [timestamp(7)] };
    expect(encodeTxnReply({ type: 'reserved', rows, waitsFor }).toString('hex')).toBe(
      '0d' + ('01' + '01' + '00' + '0600000000000000') + ('01' + '016b' + '01' + '0700000000000000'),
    );
    expect(encodeTxnReply({ type: 'released' }).toString('hex')).toBe('0e');
    expect(NO_READ_ROW.value).toEqual(NO_BYTES);
  });
});
