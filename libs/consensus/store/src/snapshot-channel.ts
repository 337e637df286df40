import {
  BoundedBytes,
  CairnError,
  InvariantError,
  messageOf,
  rethrowInvariant,
  type StoreId,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { Clock } from '@cairn/ports';
import { FrameType, MESSAGE_BYTES_MAX, tooLong, type Session, type SessionHandlers } from '@cairn/wire';

import {
  decodeSnapshotAnswer,
  encodeSnapshotAnswer,
  SNAPSHOT_WINDOW_BYTES,
  type SnapshotAnswer,
} from './snapshot-frames.js';
import type { IncomingSnapshot, SnapshotReceiver } from './snapshot-receive.js';
import type { SnapshotChannel } from './snapshot-send.js';

/** The receiver answers the header and the end within this long, or the stream is given up. */
const ANSWER_TIMEOUT_MS = 30_000;

/** What a sender sends. */
const STREAM_FRAMES: ReadonlySet<FrameType> = new Set([
  FrameType.snapshotBegin,
  FrameType.snapshotChunk,
  FrameType.snapshotEnd,
]);

/** What a channel needs of its session. */
type ChannelSession = Pick<Session, 'send' | 'close'>;

/** One snapshot over a session of its own, paced by what the receiver has on its disk. */
export class SessionSnapshotChannel implements SnapshotChannel {
  readonly #session: ChannelSession;
  readonly #clock: Clock;
  #closedWith: Error | undefined;
  #onAnswer: ((answer: SnapshotAnswer | Error) => void) | undefined;
  #onWritten: (() => void) | undefined;
  /** Bytes of the chunks that are not answered yet, oldest first. */
  readonly #unwritten: number[] = [];
  readonly #window = new BoundedBytes({
    name: 'chunks of a snapshot on their way',
    limit: SNAPSHOT_WINDOW_BYTES,
  });

  /** `open` opens the session with these handlers. */
  constructor(clock: Clock, open: (handlers: SessionHandlers) => ChannelSession) {
    this.#clock = clock;
    this.#session = open({
      onFrame: (type, body) => {
        if (type === FrameType.snapshotAnswer) this.#answered(decodeSnapshotAnswer(body));
      },
      onClose: (error) => {
        this.#fail(error ?? new CairnError('UNAVAILABLE', 'the receiver closed the stream'));
      },
    });
  }

  begin(header: Buffer): Promise<SnapshotAnswer> {
    if (header.length > MESSAGE_BYTES_MAX) throw tooLong('the header of the snapshot', header.length);
    this.#session.send(FrameType.snapshotBegin, [header]);
    return this.#nextAnswer();
  }

  async chunk(rows: Buffer): Promise<void> {
    this.#throwIfClosed();
    if (rows.length > MESSAGE_BYTES_MAX) throw tooLong('a chunk of the snapshot', rows.length);
    while (!this.#window.tryTakeOrAlone(rows.length)) {
      await this.#nextWritten();
      this.#throwIfClosed();
    }
    this.#unwritten.push(rows.length);
    this.#session.send(FrameType.snapshotChunk, [rows]);
  }

  /**
   * Behind the last chunk's answer: the receiver has room for the frame then, however long that chunk was.
   */
  async end(chunks: number): Promise<SnapshotAnswer> {
    while (this.#unwritten.length > 0) {
      this.#throwIfClosed();
      await this.#nextWritten();
    }
    this.#throwIfClosed();
    const writer = new ByteWriter(8);
    writer.varint(chunks);
    this.#session.send(FrameType.snapshotEnd, [writer.take()]);
    return this.#nextAnswer();
  }

  close(): void {
    this.#session.close();
  }

  #throwIfClosed(): void {
    if (this.#closedWith !== undefined) throw this.#closedWith;
  }

  #fail(error: Error): void {
    this.#closedWith ??= error;
    this.#onAnswer?.(this.#closedWith);
    this.#onWritten?.();
  }

  #answered(answer: SnapshotAnswer): void {
    if (answer.type === 'written') {
      const bytes = this.#unwritten.shift();
      if (bytes === undefined)
        throw new CairnError('CORRUPTION', 'the receiver answers a chunk that was not sent');
      this.#window.give(bytes);
      this.#onWritten?.();
    } else if (this.#onAnswer !== undefined) {
      this.#onAnswer(answer);
    } else if (answer.type === 'refused') {
      this.#fail(new CairnError('UNAVAILABLE', `the receiver gave the snapshot up: ${answer.reason}`));
    }
  }

  /** Resolves with the next chunk that is on the receiver's disk, or when the session has ended. */
  #nextWritten(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(ANSWER_TIMEOUT_MS, () => {
        this.#fail(new CairnError('DEADLINE_EXCEEDED', 'the receiver writes nothing'));
      });
      this.#onWritten = () => {
        this.#onWritten = undefined;
        timer.cancel();
        resolve();
      };
    });
  }

  #nextAnswer(): Promise<SnapshotAnswer> {
    this.#throwIfClosed();
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(ANSWER_TIMEOUT_MS, () => {
        this.#fail(new CairnError('DEADLINE_EXCEEDED', 'the receiver does not answer'));
      });
      this.#onAnswer = (answer) => {
        this.#onAnswer = undefined;
        timer.cancel();
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
    });
  }
}

/**
 * The receiving end of one snapshot stream. Frames are worked on one after the other; those that wait are
 * bounded by the window that senders keep. One snapshot comes by a session, and the session ends with it.
 */
export function snapshotReceiverHandlers(
  session: ChannelSession,
  from: StoreId,
  receiver: Pick<SnapshotReceiver, 'begin' | 'fatal'>,
  failed: (error: unknown) => void,
): SessionHandlers {
  const waiting = new BoundedBytes({ name: 'chunks of a snapshot', limit: SNAPSHOT_WINDOW_BYTES });
  let incoming: IncomingSnapshot | undefined;
  let hasBegun = false;
  let isOver = false;
  let work: Promise<void> = Promise.resolve();
  const answer = (what: SnapshotAnswer): void => {
    session.send(FrameType.snapshotAnswer, [encodeSnapshotAnswer(what)]);
  };
  /** What was going on ends first; then the spool goes, and the place is free. */
  const end = (): void => {
    isOver = true;
    work = work
      .then(() => incoming?.abandon())
      .catch((error: unknown) => {
        rethrowInvariant(error);
        failed(error);
      });
  };
  const give = (error: unknown): void => {
    // The core's word of itself, not of the sender: the store must not go on, whatever became of the session.
    if (error instanceof InvariantError) receiver.fatal(error);
    if (isOver) return;
    failed(error);
    answer({ type: 'refused', reason: messageOf(error) });
    end();
    session.close();
  };
  const handle = async (type: FrameType, body: Buffer): Promise<void> => {
    if (type === FrameType.snapshotBegin) {
      if (hasBegun) throw new CairnError('FAILED_PRECONDITION', 'a second snapshot on one session');
      hasBegun = true;
      incoming = await receiver.begin(body, from, give);
      answer({ type: 'accepted' });
      return;
    }
    if (incoming === undefined) throw new CairnError('CORRUPTION', 'rows before the header of a snapshot');
    if (type === FrameType.snapshotChunk) {
      await incoming.chunk(body);
      answer({ type: 'written' });
    } else {
      await incoming.finish(new ByteReader(body).varint());
      answer({ type: 'received' });
    }
  };
  return {
    onFrame: (type, body) => {
      if (!STREAM_FRAMES.has(type)) throw new CairnError('CORRUPTION', `frame ${type} in a snapshot`);
      if (isOver) return;
      if (!waiting.tryTakeOrAlone(body.length)) {
        give(waiting.refusal(body.length));
        return;
      }
      work = work
        .then(async () => {
          if (!isOver) await handle(type, body);
          waiting.give(body.length);
        })
        .catch(give);
    },
    onClose: () => {
      if (!isOver) end();
    },
  };
}
