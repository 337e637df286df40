import { CairnError, messageOf, type StoreId } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { Clock, Logger, Transport } from '@cairn/ports';
import {
  FrameType,
  MESSAGE_BYTES_MAX,
  openSession,
  tooLong,
  type Hello,
  type Session,
  type SessionHandlers,
} from '@cairn/wire';

import { decodeSnapshotAnswer, encodeSnapshotAnswer, type SnapshotAnswer } from './snapshot-frames.js';
import type { IncomingSnapshot } from './snapshot-receive.js';
import type { SnapshotChannel } from './snapshot-send.js';
import type { Store } from './store.js';

/** The receiver answers the header and the end within this long, or the stream is given up. */
const ANSWER_TIMEOUT_MS = 30_000;

export interface SessionSnapshotChannelOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly address: string;
  readonly hello: Hello;
}

/** One snapshot over a session of its own, paced by what the network takes. */
export class SessionSnapshotChannel implements SnapshotChannel {
  readonly #session: Session;
  readonly #clock: Clock;
  #closedWith: Error | undefined;
  #onAnswer: ((answer: SnapshotAnswer | Error) => void) | undefined;
  #onDrain: (() => void) | undefined;

  constructor(options: SessionSnapshotChannelOptions) {
    this.#clock = options.clock;
    this.#session = openSession({
      transport: options.transport,
      address: options.address,
      hello: options.hello,
      clock: options.clock,
      logger: options.logger,
      handlers: {
        onFrame: (type, body) => {
          if (type === FrameType.snapshotAnswer) this.#answered(decodeSnapshotAnswer(body));
        },
        onClose: (error) => {
          this.#closedWith = error ?? new CairnError('UNAVAILABLE', 'the receiver closed the stream');
          this.#answered(this.#closedWith);
          this.#onDrain?.();
        },
        onDrain: () => {
          this.#onDrain?.();
        },
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
    if (this.#session.send(FrameType.snapshotChunk, [rows])) return;
    await new Promise<void>((resolve) => {
      this.#onDrain = resolve;
    });
    this.#onDrain = undefined;
    this.#throwIfClosed();
  }

  end(chunks: number): Promise<SnapshotAnswer> {
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

  #answered(answer: SnapshotAnswer | Error): void {
    const waiting = this.#onAnswer;
    this.#onAnswer = undefined;
    waiting?.(answer);
  }

  #nextAnswer(): Promise<SnapshotAnswer> {
    this.#throwIfClosed();
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(ANSWER_TIMEOUT_MS, () => {
        this.#answered(new CairnError('DEADLINE_EXCEEDED', 'the receiver does not answer'));
      });
      this.#onAnswer = (answer) => {
        timer.cancel();
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
    });
  }
}

/** The receiving end of one snapshot stream: frames are worked on one after the other. */
export function snapshotReceiverHandlers(
  session: Session,
  from: StoreId,
  store: Store,
  failed: (error: unknown) => void,
): SessionHandlers {
  let incoming: IncomingSnapshot | undefined;
  let work: Promise<void> = Promise.resolve();
  let isBroken = false;
  const answer = (what: SnapshotAnswer): void => {
    session.send(FrameType.snapshotAnswer, [encodeSnapshotAnswer(what)]);
  };
  const handle = async (type: FrameType, body: Buffer): Promise<void> => {
    if (type === FrameType.snapshotBegin) {
      incoming = await store.snapshotReceiver.begin(body);
      answer({ type: 'accepted' });
      return;
    }
    if (incoming === undefined) throw new CairnError('CORRUPTION', 'rows before the header of a snapshot');
    if (type === FrameType.snapshotChunk) {
      await incoming.chunk(body);
    } else if (type === FrameType.snapshotEnd) {
      const message = await incoming.finish(new ByteReader(body).varint());
      store.stepMessage(from, incoming.header.rangeId, message);
      answer({ type: 'received' });
    }
  };
  const give = async (error: unknown): Promise<void> => {
    if (isBroken) return;
    isBroken = true;
    failed(error);
    answer({ type: 'refused', reason: messageOf(error) });
    session.close();
    await incoming?.abandon();
  };
  return {
    onFrame: (type, body) => {
      work = work.then(() => (isBroken ? undefined : handle(type, body))).catch(give);
    },
    onClose: () => {
      work = work
        .then(() => incoming?.abandon())
        .catch((error: unknown) => {
          failed(error);
        });
    },
  };
}
