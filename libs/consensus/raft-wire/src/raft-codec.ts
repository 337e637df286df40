import { CairnError, unreachable, type LogIndex, type RangeId, type ReplicaId, type Term } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { Entry, Message, MessageType } from '@cairn/raft';
import { FRAME_CUT_BYTES, FRAME_CUT_MESSAGES, FRAME_MESSAGES_MAX, tooManyMessages } from '@cairn/wire';

/*
 * A raftMessages frame: messages until its end. Each: type and flags (u8 each), rangeId, from, to and term as
 * varints, the range hint when flagged, then the fields of the type. Entries travel as their log record:
 * fixed header, payload. The follower checks the record's checksum and writes the same bytes to its log.
 */

/** For a store that may have to create the replica: where the range begins, and which members named it. */
export interface RaftRangeHint {
  readonly startKey: Uint8Array;
  readonly confVersion: number;
}

/** How log records look; given by the log, so that this package does not depend on it. */
export interface EntryFormat {
  readonly headerBytes: number;
  /** Where in a record its payload's length stands, four bytes. */
  readonly payloadLengthAt: number;
  /** The record of an entry, header and payload, made once per entry. */
  record(rangeId: RangeId, entry: Entry): Uint8Array;
  /** Checks the record, and that it is of the range; throws CORRUPTION. The entry keeps the view. */
  entry(record: Uint8Array, rangeId: RangeId): Entry;
}

/** On the wire: append only. Snapshots travel by themselves. */
const TYPES: readonly MessageType[] = [
  'pre-vote',
  'pre-vote-response',
  'vote',
  'vote-response',
  'append',
  'append-response',
  'heartbeat',
  'heartbeat-response',
  'snapshot',
  'timeout-now',
  'read-index',
  'read-index-response',
];
const TYPE_NUMBERS = new Map(TYPES.map((type, number) => [type, number]));

const Flag = { hint: 1, yes: 2 } as const;
/** Records above this travel as parts of their own instead of being copied into the frame. */
const COPIED_RECORD_BYTES_MAX = 2 * 1024;

/** No key is longer, whatever the settings say. */
const HINT_KEY_BYTES_MAX = 64 * 1024;

/** Collects the messages of a turn for one store into the body of one frame. */
export class RaftMessageEncoder {
  readonly #format: EntryFormat;
  readonly #writer = new ByteWriter(16 * 1024);
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #count = 0;

  constructor(format: EntryFormat) {
    this.#format = format;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes + this.#writer.length;
  }

  /** The frame must be sent before another message is added: see `FRAME_CUT_BYTES`. */
  get isFull(): boolean {
    return this.#count >= FRAME_CUT_MESSAGES || this.bytes >= FRAME_CUT_BYTES;
  }

  add(rangeId: RangeId, message: Message, hint: RaftRangeHint | undefined): void {
    const writer = this.#writer;
    this.#count += 1;
    writer.u8(TYPE_NUMBERS.get(message.type) as number);
    writer.u8((hint === undefined ? 0 : Flag.hint) | (isYes(message) ? Flag.yes : 0));
    writer.varint(rangeId);
    writer.varint(message.from);
    writer.varint(message.to);
    writer.varint(message.term);
    if (hint !== undefined) {
      writer.bytes(hint.startKey);
      writer.varint(hint.confVersion);
    }
    this.#addFields(rangeId, message);
  }

  #addFields(rangeId: RangeId, message: Message): void {
    const writer = this.#writer;
    switch (message.type) {
      case 'pre-vote':
      case 'vote':
        writer.varint(message.lastIndex);
        writer.varint(message.lastTerm);
        return;
      case 'pre-vote-response':
      case 'vote-response':
      case 'timeout-now':
        return;
      case 'append':
        writer.varint(message.previousIndex);
        writer.varint(message.previousTerm);
        writer.varint(message.commit);
        writer.f64(message.sentAtMs);
        writer.varint(message.entries.length);
        for (const entry of message.entries) this.#addEntry(rangeId, entry);
        return;
      case 'append-response':
        writer.varint(message.index);
        writer.varint(message.hintIndex);
        writer.varint(message.hintTerm);
        writer.f64(message.sentAtMs);
        return;
      case 'heartbeat':
        writer.varint(message.commit);
        writer.varint(message.readContext);
        writer.f64(message.sentAtMs);
        return;
      case 'heartbeat-response':
        writer.varint(message.readContext);
        writer.f64(message.sentAtMs);
        return;
      case 'read-index':
        writer.varint(message.context);
        return;
      case 'read-index-response':
        writer.varint(message.context);
        writer.varint(message.index);
        return;
      case 'snapshot':
        throw new CairnError('INTERNAL', 'snapshots do not travel in message frames');
      default:
        unreachable(message);
    }
  }

  #addEntry(rangeId: RangeId, entry: Entry): void {
    const record = this.#format.record(rangeId, entry);
    if (record.length <= COPIED_RECORD_BYTES_MAX) {
      this.#writer.raw(record);
      return;
    }
    const head = this.#writer.take();
    this.#parts.push(head, record);
    this.#bytes += head.length + record.length;
  }

  /** The frame's body; the encoder is empty afterwards. */
  take(): Uint8Array[] {
    const parts = this.#parts;
    if (this.#writer.length > 0) parts.push(this.#writer.take());
    this.#parts = [];
    this.#bytes = 0;
    this.#count = 0;
    return parts;
  }
}

function isYes(message: Message): boolean {
  switch (message.type) {
    case 'pre-vote':
    case 'vote':
      return message.transfer;
    case 'pre-vote-response':
    case 'vote-response':
      return message.granted;
    case 'append-response':
      return message.rejected;
    case 'read-index-response':
      return message.refused;
    default:
      return false;
  }
}

/**
 * Log entries of one frame: more than fit into what an honest sender puts there, and few enough for a turn.
 */
const FRAME_ENTRIES_MAX = 8 * FRAME_MESSAGES_MAX;

/**
 * Hands every message of a frame to `deliver`, in order. Entries are views of the frame. Throws CORRUPTION.
 */
export function decodeRaftMessages(
  body: Buffer,
  format: EntryFormat,
  deliver: (rangeId: RangeId, message: Message, hint: RaftRangeHint | undefined) => void,
): void {
  const reader = new ByteReader(body);
  let count = 0;
  let entries = 0;
  while (reader.remaining > 0) {
    if (count === FRAME_MESSAGES_MAX) throw tooManyMessages('raft messages');
    if (entries > FRAME_ENTRIES_MAX) throw tooManyEntries();
    count += 1;
    const type = TYPES[reader.u8()];
    if (type === undefined) throw new CairnError('CORRUPTION', 'unknown type of raft message');
    const flags = reader.u8();
    const rangeId = reader.varint48() as RangeId;
    const from = reader.varint48() as ReplicaId;
    const to = reader.varint48() as ReplicaId;
    const term = reader.varint48() as Term;
    let hint: RaftRangeHint | undefined;
    if ((flags & Flag.hint) !== 0) {
      const startKey = Buffer.from(reader.bytes());
      if (startKey.length > HINT_KEY_BYTES_MAX) {
        throw new CairnError('CORRUPTION', `a range that begins at a key of ${startKey.length} bytes`);
      }
      hint = { startKey, confVersion: reader.varint() };
    }
    const head: MessageHead = { rangeId, type, from, to, term, isYes: (flags & Flag.yes) !== 0 };
    const message = readMessage(reader, head, format);
    if (message.type === 'append') entries += message.entries.length;
    deliver(rangeId, message, hint);
  }
}

function tooManyEntries(): CairnError {
  return new CairnError('CORRUPTION', `a frame of more than ${FRAME_ENTRIES_MAX} log entries`);
}

interface MessageHead {
  readonly rangeId: RangeId;
  readonly type: MessageType;
  readonly from: ReplicaId;
  readonly to: ReplicaId;
  readonly term: Term;
  readonly isYes: boolean;
}

/** The fields one by one: copying `head` into each message would take longer than reading it. */
function readMessage(reader: ByteReader, head: MessageHead, format: EntryFormat): Message {
  const { type, from, to, term, isYes } = head;
  switch (type) {
    case 'pre-vote':
    case 'vote': {
      const lastIndex = reader.varint48() as LogIndex;
      return { type, from, to, term, lastIndex, lastTerm: reader.varint48() as Term, transfer: isYes };
    }
    case 'pre-vote-response':
    case 'vote-response':
      return { type, from, to, term, granted: isYes };
    case 'append':
      return readAppend(reader, head, format);
    case 'append-response': {
      const index = reader.varint48() as LogIndex;
      const hintIndex = reader.varint48() as LogIndex;
      const hintTerm = reader.varint48() as Term;
      const sentAtMs = reader.milliseconds();
      return { type, from, to, term, index, rejected: isYes, hintIndex, hintTerm, sentAtMs };
    }
    case 'heartbeat': {
      const commit = reader.varint48() as LogIndex;
      const readContext = reader.varint();
      return { type, from, to, term, commit, readContext, sentAtMs: reader.milliseconds() };
    }
    case 'heartbeat-response': {
      const readContext = reader.varint();
      return { type, from, to, term, readContext, sentAtMs: reader.milliseconds() };
    }
    case 'timeout-now':
      return { type, from, to, term };
    case 'read-index':
      return { type, from, to, term, context: reader.varint() };
    case 'read-index-response': {
      const context = reader.varint();
      return { type, from, to, term, context, index: reader.varint48() as LogIndex, refused: isYes };
    }
    case 'snapshot':
      throw new CairnError('CORRUPTION', 'snapshots do not travel in message frames');
    default:
      return unreachable(type);
  }
}

function readAppend(reader: ByteReader, head: MessageHead, format: EntryFormat): Message {
  const previousIndex = reader.varint48() as LogIndex;
  const previousTerm = reader.varint48() as Term;
  const commit = reader.varint48() as LogIndex;
  const sentAtMs = reader.milliseconds();
  const count = reader.varint();
  if (count > FRAME_ENTRIES_MAX) throw tooManyEntries();
  const { from, to, term, rangeId } = head;
  const entries: Entry[] = [];
  let before = previousTerm;
  for (let at = 0; at < count; at += 1) {
    const payloadBytes = reader.peekU32(format.payloadLengthAt);
    const entry = format.entry(reader.raw(format.headerBytes + payloadBytes), rangeId);
    if (entry.index !== previousIndex + 1 + at || entry.term < before || entry.term > term) {
      throw new CairnError(
        'CORRUPTION',
        `entry ${entry.index} of term ${entry.term} follows ${previousIndex + at} of term ${before} ` +
          `in an append of term ${term}`,
      );
    }
    before = entry.term;
    entries.push(entry);
  }
  return { type: 'append', from, to, term, previousIndex, previousTerm, commit, entries, sentAtMs };
}
