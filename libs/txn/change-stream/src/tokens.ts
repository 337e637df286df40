import { CairnError, NO_BYTES, timestamp } from '@cairn/base';
import { ByteReader, ByteWriter, crc32 } from '@cairn/codec';
import { invalidField } from '@cairn/routing';

import { endOf, isEndOf, type Position } from './positions.js';

/*
 * A token as callers keep it: a tag u8, what it announces, crc32 of all before.
 * 1: timestamp u64 | start u64 | sequence u32 | key: behind this change.
 * 2: timestamp u64: behind all at or below it.
 * A tag is never used twice.
 */
const Tag = { change: 1, timestamp: 2 } as const;
const CRC_BYTES = 4;

/** Where a watch goes on that has had everything up to the position. */
export function encodeToken(position: Position): Buffer {
  const writer = new ByteWriter();
  writer.u8(isEndOf(position) ? Tag.timestamp : Tag.change);
  writer.u64(position.timestamp);
  if (!isEndOf(position)) {
    writer.u64(position.start);
    writer.u32(position.sequence);
    writer.raw(position.key);
  }
  const said = writer.take();
  const whole = new ByteWriter(said.length + CRC_BYTES);
  whole.raw(said);
  whole.u32(crc32(said));
  return whole.take();
}

/** Throws INVALID_ARGUMENT for what is no token. */
export function decodeToken(token: Uint8Array): Position {
  try {
    return readToken(token);
  } catch (error) {
    if (!CairnError.is(error)) throw error;
    throw invalidField('token', 'token is none that a watch has given');
  }
}

function readToken(token: Uint8Array): Position {
  const said = token.subarray(0, Math.max(0, token.length - CRC_BYTES));
  const check = new ByteReader(token.subarray(said.length)).u32();
  if (check !== crc32(said)) throw garbled();
  const reader = new ByteReader(said);
  const tag = reader.u8();
  const at = reader.u64();
  switch (tag) {
    case Tag.timestamp:
      reader.expectEnd();
      return endOf(at);
    case Tag.change: {
      const start = reader.u64();
      const sequence = reader.u32();
      const { remaining } = reader;
      const key = remaining === 0 ? NO_BYTES : Buffer.from(reader.raw(remaining));
      return { timestamp: timestamp(at), start, sequence, key };
    }
    default:
      throw garbled();
  }
}

function garbled(): CairnError {
  return new CairnError('CORRUPTION', 'a token is garbled');
}
