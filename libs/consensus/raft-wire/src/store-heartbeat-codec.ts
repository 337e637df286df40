import type { LogIndex, RangeId, Term } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import { FRAME_CUT_MESSAGES, FRAME_MESSAGES_MAX, tooManyMessages } from '@cairn/wire';

/** A leadership: a range, and the term that its leader leads. */
export interface LedRange {
  readonly rangeId: RangeId;
  readonly term: Term;
}

/** A leader asks the store of a member to support it. */
export interface SupportRequest extends LedRange {
  /** Of the asking store, never the same twice in its life: the answer carries it. */
  readonly round: number;
}

export interface SupportAnswer extends SupportRequest {
  /** The member follows that leader, and its store supports it from now on. */
  readonly isSupporting: boolean;
}

/** What the leader has committed and the member surely has. */
export interface CommitNotice extends LedRange {
  readonly commit: LogIndex;
}

/**
 * What one store tells another for all ranges that the two share. Everything in a frame is true when it is
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
  /** Ranges led by the receiver that the sender no longer supports. */
  readonly ended: readonly RangeId[];
  readonly answers: readonly SupportAnswer[];
  /** Leaderships of the sender that are over, or that it begins to ask for anew. */
  readonly released: readonly LedRange[];
  readonly asks: readonly SupportRequest[];
  readonly commits: readonly CommitNotice[];
}

function writeLed(writer: ByteWriter, range: LedRange): void {
  writer.varint(range.rangeId);
  writer.varint(range.term);
}

function readLed(reader: ByteReader): LedRange {
  return { rangeId: reader.varint48() as RangeId, term: reader.varint48() as Term };
}

/** Reads the lists of one frame, of which no sender puts more than FRAME_CUT_MESSAGES items together. */
class ListReader {
  readonly #reader: ByteReader;
  #left = FRAME_MESSAGES_MAX;

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  list<Item>(read: () => Item): Item[] {
    const count = this.#reader.varint();
    this.#left -= count;
    if (this.#left < 0) throw tooManyMessages('items of a heartbeat');
    const items: Item[] = [];
    for (let at = 0; at < count; at += 1) items.push(read());
    return items;
  }
}

/**
 * The heartbeat as frames that receivers take, in the order in which they must be sent. What ended, and
 * answers, come before the frame that has the times, because an answered heartbeat covers neither; what
 * begins comes with it or behind it.
 */
export function cutStoreHeartbeat(heartbeat: StoreHeartbeat): readonly StoreHeartbeat[] {
  const { ended, answers, released, asks, commits } = heartbeat;
  const total = ended.length + answers.length + released.length + asks.length + commits.length;
  if (total <= FRAME_CUT_MESSAGES) return [heartbeat];
  const news = { ...heartbeat, sentAtMs: 0, echoSentAtMs: 0 };
  const none = { ended: [], answers: [], released: [], asks: [], commits: [] };
  return [
    ...pieces(ended).map((piece) => ({ ...news, ...none, ended: piece })),
    ...pieces(answers).map((piece) => ({ ...news, ...none, answers: piece })),
    { ...heartbeat, ...none },
    ...pieces(released).map((piece) => ({ ...news, ...none, released: piece })),
    ...pieces(asks).map((piece) => ({ ...news, ...none, asks: piece })),
    ...pieces(commits).map((piece) => ({ ...news, ...none, commits: piece })),
  ];
}

function pieces<Item>(items: readonly Item[]): (readonly Item[])[] {
  const cut: (readonly Item[])[] = [];
  for (let from = 0; from < items.length; from += FRAME_CUT_MESSAGES) {
    cut.push(items.slice(from, from + FRAME_CUT_MESSAGES));
  }
  return cut;
}

/** The frame, without its type byte; owned by the caller. */
export function encodeStoreHeartbeat(heartbeat: StoreHeartbeat): Buffer {
  const writer = new ByteWriter(64);
  writer.varint(heartbeat.generation);
  writer.varint(heartbeat.sentAtMs);
  writer.varint(heartbeat.echoSentAtMs);
  writer.varint(heartbeat.ended.length);
  for (const rangeId of heartbeat.ended) writer.varint(rangeId);
  writer.varint(heartbeat.answers.length);
  for (const answer of heartbeat.answers) {
    writeLed(writer, answer);
    writer.varint(answer.round);
    writer.u8(answer.isSupporting ? 1 : 0);
  }
  writer.varint(heartbeat.released.length);
  for (const range of heartbeat.released) writeLed(writer, range);
  writer.varint(heartbeat.asks.length);
  for (const ask of heartbeat.asks) {
    writeLed(writer, ask);
    writer.varint(ask.round);
  }
  writer.varint(heartbeat.commits.length);
  for (const notice of heartbeat.commits) {
    writeLed(writer, notice);
    writer.varint(notice.commit);
  }
  return writer.take();
}

/** Throws CORRUPTION when the frame is not what `encodeStoreHeartbeat` makes. */
export function decodeStoreHeartbeat(body: Buffer): StoreHeartbeat {
  const reader = new ByteReader(body);
  const generation = reader.varint();
  const sentAtMs = reader.varint();
  const echoSentAtMs = reader.varint();
  const lists = new ListReader(reader);
  const ended = lists.list(() => reader.varint48() as RangeId);
  const answers = lists.list(() => ({
    ...readLed(reader),
    round: reader.varint(),
    isSupporting: reader.u8() === 1,
  }));
  const released = lists.list(() => readLed(reader));
  const asks = lists.list(() => ({ ...readLed(reader), round: reader.varint() }));
  const commits = lists.list(() => ({ ...readLed(reader), commit: reader.varint48() as LogIndex }));
  reader.expectEnd();
  return { generation, sentAtMs, echoSentAtMs, ended, answers, released, asks, commits };
}
