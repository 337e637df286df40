import { CairnError, NO_BYTES, timestamp, unreachable } from '@cairn/base';
import { ByteWriter, type ByteReader } from '@cairn/codec';

import {
  CHANGES_COUNT_MAX,
  type Change,
  type ChangesReply,
  type ChangesRequest,
  type PreviousVersion,
} from './changes-messages.js';
import { readTimestamp, readWhole } from './txn-fields.js';

/*
 * Bodies of the values of `changes` requests and answers: a tag u8, then fields in the order of the type.
 * A change: flags u8 | key | timestamp u64 | sequence u32, then what the flags announce. Tags and flags are
 * never used twice.
 */

const RequestTag = 1;
const ReplyTag = { page: 1, reset: 2, regroup: 3 } as const;
const Flag = { delete: 1, start: 2, kind: 4, expires: 8, previous: 16, previousExpires: 32 } as const;
const FLAGS_KNOWN = 63;
/** Flags, an empty key, timestamp and sequence. */
const CHANGE_BYTES_MIN = 1 + 1 + 8 + 4;
/** What a change takes at most beside its key and values. */
const CHANGE_BYTES_EXTRA = 64;

/** About what a change takes in an answer, never less than that. */
export function changeBytesOf({ key, value, previous }: Change): number {
  return (
    CHANGE_BYTES_EXTRA + key.length + value.length + (previous === undefined ? 0 : previous.value.length)
  );
}

export function encodeChangesRequest(request: ChangesRequest): Buffer {
  const writer = new ByteWriter();
  writer.u8(RequestTag);
  writer.bytes(request.start);
  writer.bytes(request.end);
  writer.u64(request.after);
  writer.varint(request.index);
  writer.varint(request.rangeId);
  writer.bytes(request.resume);
  writer.u8(request.withPrevious ? 1 : 0);
  writer.varint(Math.ceil(request.waitMs));
  writer.varint(request.bytesMax);
  return writer.take();
}

/** Keys are views of `body`. Throws CORRUPTION. */
export function decodeChangesRequest(body: Uint8Array): ChangesRequest {
  return readWhole(body, readRequest);
}

function readRequest(reader: ByteReader): ChangesRequest {
  const tag = reader.u8();
  if (tag !== RequestTag) throw garbled(`a question of tag ${tag}`);
  return {
    start: reader.bytes(),
    end: reader.bytes(),
    after: readTimestamp(reader),
    index: reader.varint48(),
    rangeId: reader.varint48(),
    resume: reader.bytes(),
    withPrevious: readFlag(reader),
    waitMs: reader.varint(),
    bytesMax: reader.varint(),
  };
}

export function encodeChangesReply(reply: ChangesReply): Buffer {
  const writer = new ByteWriter();
  writer.u8(ReplyTag[reply.type]);
  switch (reply.type) {
    case 'page':
      writer.varint(reply.rangeId);
      writer.varint(reply.index);
      writer.u64(reply.resolved);
      writer.bytes(reply.resume);
      writer.varint(reply.changes.length);
      for (const change of reply.changes) writeChange(writer, change);
      break;
    case 'reset':
      writer.u64(reply.oldest);
      break;
    case 'regroup':
      break;
    default:
      unreachable(reply);
  }
  return writer.take();
}

/** Keys and values are views of `body`. Throws CORRUPTION. */
export function decodeChangesReply(body: Uint8Array): ChangesReply {
  return readWhole(body, readReply);
}

function readReply(reader: ByteReader): ChangesReply {
  const tag = reader.u8();
  switch (tag) {
    case ReplyTag.page:
      return {
        type: 'page',
        rangeId: reader.varint48(),
        index: reader.varint48(),
        resolved: readTimestamp(reader),
        resume: reader.bytes(),
        changes: readChanges(reader),
      };
    case ReplyTag.reset:
      return { type: 'reset', oldest: readTimestamp(reader) };
    case ReplyTag.regroup:
      return { type: 'regroup' };
    default:
      throw garbled(`an answer of tag ${tag}`);
  }
}

function writeChange(writer: ByteWriter, change: Change): void {
  const { key, start, kind, expiresAt, previous } = change;
  const previousExpires = previous !== undefined && previous.expiresAt > 0;
  writer.u8(
    (change.type === 'delete' ? Flag.delete : 0) |
      (start === 0 ? 0 : Flag.start) |
      (kind === 0 ? 0 : Flag.kind) |
      (expiresAt === 0 ? 0 : Flag.expires) |
      (previous === undefined ? 0 : Flag.previous) |
      (previousExpires ? Flag.previousExpires : 0),
  );
  writer.bytes(key);
  writer.u64(change.timestamp);
  writer.u32(change.sequence);
  if (start !== 0) writer.u64(start);
  if (kind !== 0) writer.u8(kind);
  if (expiresAt !== 0) writer.u64(expiresAt);
  if (change.type === 'put') writer.bytes(change.value);
  if (previous === undefined) return;
  writer.bytes(previous.value);
  writer.u64(previous.timestamp);
  if (previousExpires) writer.u64(previous.expiresAt);
}

function readChanges(reader: ByteReader): Change[] {
  const count = reader.varint();
  // A count that cannot be true must not make a list.
  if (count > CHANGES_COUNT_MAX || count * CHANGE_BYTES_MIN > reader.remaining) {
    throw garbled(`a list of ${count}`);
  }
  const changes: Change[] = [];
  for (let at = 0; at < count; at += 1) changes.push(readChange(reader));
  return changes;
}

function readChange(reader: ByteReader): Change {
  const flags = reader.u8();
  const has = (flag: number): boolean => (flags & flag) !== 0;
  if (flags > FLAGS_KNOWN || (has(Flag.previousExpires) && !has(Flag.previous))) {
    throw garbled(`a change with flags ${flags}`);
  }
  const isDelete = has(Flag.delete);
  if (isDelete && (has(Flag.kind) || has(Flag.expires))) throw garbled(`a deletion with flags ${flags}`);
  return {
    key: reader.bytes(),
    timestamp: readTimestamp(reader),
    sequence: reader.u32(),
    start: has(Flag.start) ? readTimestamp(reader) : timestamp(0),
    kind: has(Flag.kind) ? reader.u8() : 0,
    type: isDelete ? 'delete' : 'put',
    expiresAt: has(Flag.expires) ? readTimestamp(reader) : timestamp(0),
    value: isDelete ? NO_BYTES : reader.bytes(),
    previous: has(Flag.previous) ? readPrevious(reader, has(Flag.previousExpires)) : undefined,
  };
}

function readPrevious(reader: ByteReader, expires: boolean): PreviousVersion {
  return {
    value: reader.bytes(),
    timestamp: readTimestamp(reader),
    expiresAt: expires ? readTimestamp(reader) : timestamp(0),
  };
}

function readFlag(reader: ByteReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw garbled(`a flag of ${flag}`);
  return flag === 1;
}

function garbled(what: string): CairnError {
  return new CairnError('CORRUPTION', `changes: ${what}`);
}
