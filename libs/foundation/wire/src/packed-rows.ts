import { assert, CairnError, RowKind } from '@cairn/base';

import type { KvRow } from './kv-messages.js';

/*
 * Rows of a scan page as the client gets them: the `rows` fields of a ScanResponse, tags and lengths
 * included, one after the other. The shard writes them, nobody between it and the client takes them apart.
 *   0a len ( 0a len key | 12 len value | 1a 0c version | 20 kind | 28 expiry )
 * Key and value only when not empty, the kind only when it is not bytes, the expiry only when there is one.
 */

const ROWS_TAG = 0x0a;
const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;
const VERSION_TAG = 0x1a;
const KIND_TAG = 0x20;
const EXPIRES_TAG = 0x28;
const TIMESTAMP_TAG = 0x10;
const VERSION_BYTES = 12;
const VERSION_FIELD_BYTES = 2 + VERSION_BYTES;
const VARINT32_BYTES_MAX = 5;

/** Encoded rows, in the order of the scan. */
export interface PackedRows {
  readonly count: number;
  readonly bytes: Buffer;
  /**
   * The timestamp whose encoded field lies right behind `bytes` in the same memory; absent = none does. Rows
   * that came from a shard have it, so that their message need not be put together anew.
   */
  readonly stamp?: number;
}

/** A message of a scan stream: what a `ScanResponse` says, with its rows packed. */
export interface ScanPage {
  readonly rows: PackedRows;
  /** The snapshot the rows belong to; 0 for stale scans. */
  readonly timestamp: number;
}

export const NO_ROWS: PackedRows = { count: 0, bytes: Buffer.alloc(0) };

function varintLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  let length = 4;
  for (let rest = Math.floor(value / 0x10000000); rest > 0; rest = Math.floor(rest / 128)) length += 1;
  return length;
}

function writeVarint(target: Buffer, at: number, value: number): number {
  let to = at;
  let rest = value;
  while (rest >= 0x80) {
    target[to++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[to++] = rest;
  return to;
}

/**
 * Appends rows to one growing buffer. `reserve` writes everything of a row but the bytes of its parts and
 * says where they belong, so that whoever has them elsewhere copies them once.
 */
export class RowPacker {
  #buffer: Buffer;
  #length = 0;
  #count = 0;
  /** Where the parts of the row reserved last go in `buffer`. */
  keyAt = 0;
  valueAt = 0;
  versionAt = 0;

  constructor(capacity = 1024) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity);
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Valid until the next `reserve` or `append`. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Begins a row; key, value and the twelve bytes of the version must be filled in by the caller. */
  reserve(keyBytes: number, valueBytes: number, expiresUnixMs: number, kind: RowKind): void {
    const keyField = keyBytes === 0 ? 0 : 1 + varintLength(keyBytes) + keyBytes;
    const valueField = valueBytes === 0 ? 0 : 1 + varintLength(valueBytes) + valueBytes;
    const expiresField = expiresUnixMs === 0 ? 0 : 1 + varintLength(expiresUnixMs);
    const kindField = kind === RowKind.bytes ? 0 : 1 + varintLength(kind);
    const body = keyField + valueField + VERSION_FIELD_BYTES + kindField + expiresField;
    this.#room(1 + VARINT32_BYTES_MAX + body);
    const buffer = this.#buffer;
    let at = this.#length;
    buffer[at++] = ROWS_TAG;
    at = writeVarint(buffer, at, body);
    if (keyBytes > 0) {
      buffer[at++] = KEY_TAG;
      at = writeVarint(buffer, at, keyBytes);
    }
    this.keyAt = at;
    at += keyBytes;
    if (valueBytes > 0) {
      buffer[at++] = VALUE_TAG;
      at = writeVarint(buffer, at, valueBytes);
    }
    this.valueAt = at;
    at += valueBytes;
    buffer[at++] = VERSION_TAG;
    buffer[at++] = VERSION_BYTES;
    this.versionAt = at;
    at += VERSION_BYTES;
    if (kind !== RowKind.bytes) {
      buffer[at++] = KIND_TAG;
      at = writeVarint(buffer, at, kind);
    }
    if (expiresUnixMs > 0) {
      buffer[at++] = EXPIRES_TAG;
      at = writeVarint(buffer, at, expiresUnixMs);
    }
    this.#length = at;
    this.#count += 1;
  }

  add(row: KvRow): void {
    assert(row.version.length === VERSION_BYTES, 'rows carry whole version tokens');
    this.reserve(row.key.length, row.value.length, row.expiresUnixMs, row.kind);
    this.#buffer.set(row.key, this.keyAt);
    this.#buffer.set(row.value, this.valueAt);
    this.#buffer.set(row.version, this.versionAt);
  }

  /** Adds whole rows that are packed already: `count` of them in `bytes`. */
  append(bytes: Buffer, count: number): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
    this.#count += count;
  }

  /** The rows, in a buffer of their own size class; the packer must not be used afterwards. */
  take(): PackedRows {
    return { count: this.#count, bytes: this.#buffer.subarray(0, this.#length) };
  }

  #room(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

/** Reads protobuf fields at a position that its owner sees and moves. */
class FieldCursor {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  varint(): number {
    const { bytes } = this;
    let value = 0;
    let scale = 1;
    for (let more = 0; more < 10 && this.at < bytes.length; more += 1) {
      const byte = bytes[this.at] as number;
      this.at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    throw garbled();
  }

  /** Reads a length; answers where what has that length ends, which must not be behind `outerEnd`. */
  lengthEnd(outerEnd: number): number {
    const length = this.varint();
    const end = this.at + length;
    if (end > outerEnd) throw garbled();
    return end;
  }

  /** Steps over a field that is not known here. */
  skip(tag: number, outerEnd: number): void {
    switch (tag & 7) {
      case 0:
        this.varint();
        break;
      case 1:
        this.at += 8;
        break;
      case 2:
        this.at = this.lengthEnd(outerEnd);
        break;
      case 5:
        this.at += 4;
        break;
      default:
        throw garbled();
    }
    if (this.at > outerEnd) throw garbled();
  }
}

/**
 * Walks over packed rows. Fields of a row may come in any order and unknown ones are stepped over, as
 * protobuf wants it. Throws CORRUPTION for what is no well-formed row.
 */
export class PackedRowReader {
  readonly #cursor: FieldCursor;
  /** Parts of the present row, as positions in the bytes; start and end are the same where one is empty. */
  rowStart = 0;
  rowEnd = 0;
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  versionStart = 0;
  versionEnd = 0;
  kind: RowKind = RowKind.bytes;
  expiresUnixMs = 0;

  constructor(bytes: Buffer, at = 0) {
    this.#cursor = new FieldCursor(bytes, at);
  }

  /** Steps to the next row; false at the end. */
  next(): boolean {
    const cursor = this.#cursor;
    if (cursor.at >= cursor.bytes.length) return false;
    this.rowStart = cursor.at;
    if (cursor.varint() !== ROWS_TAG) throw garbled();
    this.rowEnd = cursor.lengthEnd(cursor.bytes.length);
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = 0;
    this.versionStart = this.versionEnd = 0;
    this.kind = RowKind.bytes;
    this.expiresUnixMs = 0;
    while (cursor.at < this.rowEnd) this.#readField(cursor.varint());
    return true;
  }

  #readField(tag: number): void {
    const cursor = this.#cursor;
    if (tag === EXPIRES_TAG || tag === KIND_TAG) {
      const number = cursor.varint();
      if (tag === KIND_TAG) this.kind = number;
      else this.expiresUnixMs = number;
      if (cursor.at > this.rowEnd) throw garbled();
      return;
    }
    if (tag !== KEY_TAG && tag !== VALUE_TAG && tag !== VERSION_TAG) {
      cursor.skip(tag, this.rowEnd);
      return;
    }
    const end = cursor.lengthEnd(this.rowEnd);
    if (tag === KEY_TAG) {
      this.keyStart = cursor.at;
      this.keyEnd = end;
    } else if (tag === VALUE_TAG) {
      this.valueStart = cursor.at;
      this.valueEnd = end;
    } else {
      this.versionStart = cursor.at;
      this.versionEnd = end;
    }
    cursor.at = end;
  }
}

/** Views of the packed bytes. Throws CORRUPTION. */
export function unpackRows(packed: PackedRows): KvRow[] {
  const { bytes } = packed;
  const reader = new PackedRowReader(bytes);
  const rows: KvRow[] = [];
  while (reader.next()) {
    rows.push({
      key: bytes.subarray(reader.keyStart, reader.keyEnd),
      value: bytes.subarray(reader.valueStart, reader.valueEnd),
      version: bytes.subarray(reader.versionStart, reader.versionEnd),
      kind: reader.kind,
      expiresUnixMs: reader.expiresUnixMs,
    });
  }
  return rows;
}

export function packRows(rows: readonly KvRow[]): PackedRows {
  const packer = new RowPacker();
  for (const row of rows) packer.add(row);
  return packer.take();
}

/** A `ScanResponse`; byte for byte what the generated encoder makes. */
export function encodeScanPage(page: ScanPage): Buffer {
  const { bytes, stamp } = page.rows;
  if (stamp !== undefined && stamp === page.timestamp) {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length + timestampFieldLength(stamp));
  }
  const message = Buffer.allocUnsafe(bytes.length + 10);
  message.set(bytes, 0);
  if (page.timestamp === 0) return message.subarray(0, bytes.length);
  return message.subarray(0, writeTimestampField(message, bytes.length, page.timestamp));
}

/** Bytes of the field that says which snapshot rows belong to; `timestamp` above 0. */
export function timestampFieldLength(timestamp: number): number {
  let length = 2;
  for (let rest = timestamp; rest >= 0x80; rest = Math.floor(rest / 128)) length += 1;
  return length;
}

/** Writes that field at `at`; answers the position behind it. */
function writeTimestampField(target: Buffer, at: number, timestamp: number): number {
  target[at] = TIMESTAMP_TAG;
  return writeVarint(target, at + 1, timestamp);
}

/** The field alone. */
export function encodeTimestampField(timestamp: number): Buffer {
  const field = Buffer.allocUnsafe(timestampFieldLength(timestamp));
  writeTimestampField(field, 0, timestamp);
  return field;
}

/** Reads a `ScanResponse`; the rows are a view of it where possible. Throws CORRUPTION. */
export function decodeScanPage(message: Buffer): ScanPage {
  const cursor = new FieldCursor(message, 0);
  const parts: Buffer[] = [];
  let count = 0;
  let timestamp = 0;
  let rowsStart = 0;
  while (cursor.at < message.length) {
    const fieldStart = cursor.at;
    const tag = cursor.varint();
    if (tag === ROWS_TAG) {
      cursor.at = cursor.lengthEnd(message.length);
      count += 1;
      continue;
    }
    if (fieldStart > rowsStart) parts.push(message.subarray(rowsStart, fieldStart));
    if (tag === TIMESTAMP_TAG) timestamp = cursor.varint();
    else cursor.skip(tag, message.length);
    rowsStart = cursor.at;
  }
  if (cursor.at > rowsStart) parts.push(message.subarray(rowsStart));
  const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  return { rows: { count, bytes }, timestamp };
}

function garbled(): CairnError {
  return new CairnError('CORRUPTION', 'the rows of a scan are garbled');
}
