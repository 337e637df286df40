import type { LogIndex, RangeId, Term } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

/** A range and the state of it that a leader wants to leave alone: its term and its last log index. */
export interface QuietRange {
  readonly rangeId: RangeId;
  readonly term: Term;
  readonly index: LogIndex;
}

/** The answer to a `QuietRange` that was asked for. */
export interface QuietAnswer extends QuietRange {
  /** The replica sleeps, and its store vouches for it from now on. */
  readonly isQuiet: boolean;
}

/**
 * What one store tells another for all its quiet ranges at once. Everything in a frame is true when it is
 * sent, and frames of one generation arrive in the order in which they were sent, or not at all from some
 * frame on.
 */
export interface StoreHeartbeat {
  /** Of the sender's way to the receiver: a new one whenever a frame may have been lost. */
  readonly generation: number;
  /** The sender's clock, whole milliseconds; 0 = this frame is no heartbeat, only news. */
  readonly sentAtMs: number;
  /** `sentAtMs` of the heartbeat that is answered; 0 = none. */
  readonly echoSentAtMs: number;
  /** Ranges led by the sender that might go quiet. */
  readonly asks: readonly QuietRange[];
  readonly answers: readonly QuietAnswer[];
  /** Ranges led by the receiver that the sender no longer vouches for. */
  readonly woken: readonly RangeId[];
}

function writeRange(writer: ByteWriter, range: QuietRange): void {
  writer.varint(range.rangeId);
  writer.varint(range.term);
  writer.varint(range.index);
}

function readRange(reader: ByteReader): QuietRange {
  return {
    rangeId: reader.varint() as RangeId,
    term: reader.varint() as Term,
    index: reader.varint() as LogIndex,
  };
}

function readList<Item>(reader: ByteReader, read: () => Item): Item[] {
  const count = reader.varint();
  const items: Item[] = [];
  for (let at = 0; at < count; at += 1) items.push(read());
  return items;
}

/** The frame, without its type byte; owned by the caller. */
export function encodeStoreHeartbeat(heartbeat: StoreHeartbeat): Buffer {
  const writer = new ByteWriter(64);
  writer.varint(heartbeat.generation);
  writer.varint(heartbeat.sentAtMs);
  writer.varint(heartbeat.echoSentAtMs);
  writer.varint(heartbeat.asks.length);
  for (const ask of heartbeat.asks) writeRange(writer, ask);
  writer.varint(heartbeat.answers.length);
  for (const answer of heartbeat.answers) {
    writeRange(writer, answer);
    writer.u8(answer.isQuiet ? 1 : 0);
  }
  writer.varint(heartbeat.woken.length);
  for (const rangeId of heartbeat.woken) writer.varint(rangeId);
  return writer.take();
}

/** Throws CORRUPTION when the frame is not what `encodeStoreHeartbeat` makes. */
export function decodeStoreHeartbeat(body: Buffer): StoreHeartbeat {
  const reader = new ByteReader(body);
  const generation = reader.varint();
  const sentAtMs = reader.varint();
  const echoSentAtMs = reader.varint();
  const asks = readList(reader, () => readRange(reader));
  const answers = readList(reader, () => ({ ...readRange(reader), isQuiet: reader.u8() === 1 }));
  const woken = readList(reader, () => reader.varint() as RangeId);
  reader.expectEnd();
  return { generation, sentAtMs, echoSentAtMs, asks, answers, woken };
}
