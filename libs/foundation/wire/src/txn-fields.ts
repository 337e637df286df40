import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { ByteReader, type ByteWriter } from '@cairn/codec';

import { NO_READ_ROW } from './kv-factories.js';
import type { ReadRow } from './txn-messages.js';

/*
 * Fields that commands and replies of transactions, and bodies beside them, are made of. Readers throw
 * CORRUPTION.
 */

/** Keys, spans and operations of one command: more than any transaction may have. */
export const TXN_ITEMS_MAX = 100_000;

export function garbled(what: string): CairnError {
  return new CairnError('CORRUPTION', `command of a transaction: ${what}`);
}

/** What `read` makes of a body, all of it. Keys and values are views of the body. */
export function readWhole<T>(body: Uint8Array, read: (reader: ByteReader) => T): T {
  const reader = new ByteReader(body);
  const made = read(reader);
  reader.expectEnd();
  return made;
}

export function readTimestamp(reader: ByteReader): Timestamp {
  return timestamp(reader.u64());
}

export function readFlag(reader: ByteReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw garbled(`a flag of ${flag}`);
  return flag === 1;
}

export function writeList<T>(
  writer: ByteWriter,
  list: readonly T[],
  write: (writer: ByteWriter, item: T) => void,
): void {
  writer.varint(list.length);
  for (const item of list) write(writer, item);
}

export function readList<T>(reader: ByteReader, read: (reader: ByteReader) => T): T[] {
  const count = reader.varint();
  // Each item takes a byte at least: a count that cannot be true must not make a list.
  if (count > TXN_ITEMS_MAX || count > reader.remaining) throw garbled(`a list of ${count}`);
  const list: T[] = [];
  for (let at = 0; at < count; at += 1) list.push(read(reader));
  return list;
}

export function writeKeys(writer: ByteWriter, keys: readonly Uint8Array[]): void {
  writer.varint(keys.length);
  for (const key of keys) writer.bytes(key);
}

export function readKeys(reader: ByteReader): Uint8Array[] {
  return readList(reader, (from) => from.bytes());
}

export function writeRow(writer: ByteWriter, row: ReadRow): void {
  writer.u8(row.found ? 1 : 0);
  if (!row.found) return;
  writer.u8(row.kind);
  writer.bytes(row.value);
  writer.bytes(row.version);
  writer.varint(row.expiresUnixMs);
}

export function readRow(reader: ByteReader): ReadRow {
  if (!readFlag(reader)) return NO_READ_ROW;
  const kind = reader.u8();
  const value = reader.bytes();
  return { found: true, kind, value, version: reader.bytes(), expiresUnixMs: reader.varint() };
}
