import { unreachable } from '@cairn/base';
import { ByteWriter, type ByteReader } from '@cairn/codec';

import {
  LockPolicy,
  LockStrength,
  type ReservationCommand,
  type ReservedReply,
  type ReservedRow,
  type ReserveCommand,
  type WaitsFor,
} from './reserve-messages.js';
import {
  garbled,
  readFlag,
  readKeys,
  readList,
  readRow,
  readTimestamp,
  readWhole,
  writeKeys,
  writeList,
  writeRow,
} from './txn-fields.js';

/*
 * Bodies of the values of `reserve` requests, and of their replies behind the tag: fields in the order of the
 * type. Tags are never used twice.
 */

const Tag = { reserve: 1, release: 2 } as const;

/** Keys of one reserve command. */
export const RESERVE_KEYS_MAX = 256;
/** How long a leader holds a question for a key that is not free. */
export const RESERVE_WAIT_MS_MAX = 1_000;
/** How long a reservation lives without being renewed. */
export const RESERVE_TTL_MS_MAX = 60_000;
/** Owners that one reply names as those in the way. */
export const WAITS_FOR_OWNERS_MAX = 64;

export function encodeReservation(command: ReservationCommand): Buffer {
  const writer = new ByteWriter();
  writer.u8(Tag[command.type]);
  writer.u64(command.owner);
  switch (command.type) {
    case 'reserve':
      writer.u8(command.strength);
      writeKeys(writer, command.keys);
      writer.varint(Math.ceil(command.waitMs));
      writer.u8(command.policy);
      writer.varint(Math.ceil(command.ttlMs));
      break;
    case 'release':
      writeKeys(writer, command.keys);
      break;
    default:
      unreachable(command);
  }
  return writer.take();
}

/** Keys are views of `body`. Throws CORRUPTION. */
export function decodeReservation(body: Uint8Array): ReservationCommand {
  return readWhole(body, readCommand);
}

function readCommand(reader: ByteReader): ReservationCommand {
  const tag = reader.u8();
  const owner = readTimestamp(reader);
  switch (tag) {
    case Tag.reserve: {
      const strength = readStrength(reader);
      const keys = readKeys(reader);
      if (keys.length > RESERVE_KEYS_MAX) throw garbled(`reserves ${keys.length} keys`);
      return {
        ...{ type: 'reserve', owner, strength, keys, waitMs: readMs(reader, RESERVE_WAIT_MS_MAX) },
        ...{ policy: readPolicy(reader), ttlMs: readMs(reader, RESERVE_TTL_MS_MAX) },
      };
    }
    case Tag.release:
      return { type: 'release', owner, keys: readKeys(reader) };
    default:
      throw garbled(`a reservation of tag ${tag}`);
  }
}

function readStrength(reader: ByteReader): ReserveCommand['strength'] {
  const strength = reader.u8();
  if (strength < LockStrength.keyShare || strength > LockStrength.exclusive) {
    throw garbled(`a lock of strength ${strength}`);
  }
  return strength as LockStrength;
}

function readPolicy(reader: ByteReader): ReserveCommand['policy'] {
  const policy = reader.u8();
  if (policy < LockPolicy.wait || policy > LockPolicy.skipLocked) {
    throw garbled(`a lock of policy ${policy}`);
  }
  return policy as LockPolicy;
}

function readMs(reader: ByteReader, max: number): number {
  const ms = reader.varint();
  if (ms > max) throw garbled(`a reservation with ${ms} ms, of ${max}`);
  return ms;
}

export function writeReserved(writer: ByteWriter, { rows, waitsFor }: ReservedReply): void {
  writeList(writer, rows, writeReservedRow);
  writer.u8(waitsFor === undefined ? 0 : 1);
  if (waitsFor === undefined) return;
  writer.bytes(waitsFor.key);
  writeList(writer, waitsFor.owners.slice(0, WAITS_FOR_OWNERS_MAX), (to, owner) => {
    to.u64(owner);
  });
}

/** Throws CORRUPTION. */
export function readReserved(reader: ByteReader): ReservedReply {
  const rows = readList(reader, readReservedRow);
  if (rows.length > RESERVE_KEYS_MAX) throw garbled(`${rows.length} reserved rows`);
  return { type: 'reserved', rows, waitsFor: readFlag(reader) ? readWaitsFor(reader) : undefined };
}

function readWaitsFor(reader: ByteReader): WaitsFor {
  const key = reader.bytes();
  const owners = readList(reader, readTimestamp);
  if (owners.length > WAITS_FOR_OWNERS_MAX) throw garbled(`${owners.length} owners in the way`);
  return { key, owners };
}

function writeReservedRow(writer: ByteWriter, { isReserved, row, newest }: ReservedRow): void {
  writer.u8(isReserved ? 1 : 0);
  writeRow(writer, row);
  writer.u64(newest);
}

function readReservedRow(reader: ByteReader): ReservedRow {
  return { isReserved: readFlag(reader), row: readRow(reader), newest: readTimestamp(reader) };
}
