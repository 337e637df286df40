import { checkFormat, term, type Term } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import type { Row } from './records.js';

/**
 * A log command: rows with absolute values, worked out by the leader from the state it had applied. Valid
 * only in the term it was worked out in: an entry that carries it in any other term is void, on every member
 * alike.
 */
export interface Command {
  readonly term: Term;
  readonly rows: readonly Row[];
}

/**
 * First byte of every command: read from `min` on, written as `max`. Never the tag of the store's own
 * commands (0xff).
 */
const FORMATS = { min: 1, max: 1 };

export function encodeCommand(command: Command): Buffer {
  const writer = new ByteWriter();
  writer.u8(FORMATS.max);
  writer.varint(command.term);
  writer.varint(command.rows.length);
  for (const { tag, name, value } of command.rows) {
    writer.u8(tag);
    writer.string(name);
    writer.u8(value === undefined ? 0 : 1);
    if (value !== undefined) writer.bytes(value);
  }
  return writer.take();
}

/** Values are copied out of the input. @throws CairnError FORMAT_TOO_NEW or CORRUPTION: the replica halts. */
export function decodeCommand(bytes: Uint8Array): Command {
  const reader = new ByteReader(bytes);
  checkFormat('a metadata command', reader.u8(), FORMATS);
  const inTerm = term(reader.varint());
  const rows: Row[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) {
    const tag = reader.u8();
    const name = reader.string();
    const value = reader.u8() === 0 ? undefined : Buffer.from(reader.bytes());
    rows.push({ tag, name, value });
  }
  reader.expectEnd();
  return { term: inTerm, rows };
}
