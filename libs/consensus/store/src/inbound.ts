import { BoundedBytes, CairnError, type RangeId, type StoreId } from '@cairn/base';
import type { Message } from '@cairn/raft';
import { decodeRaftMessages, type RaftRangeHint } from '@cairn/raft-wire';

import { ENTRY_FORMAT } from './entry-format.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMetrics } from './store-metrics.js';

/** Looking at the clock costs; a budget of milliseconds is kept well enough by looking every so often. */
const MESSAGES_PER_LOOK = 32;
/** Places of frames that are worked off before the list is cut, also when it never gets empty. */
const FRAMES_BEFORE_CUT = 1_024;

/** A session through which a peer store sends raft frames. */
export class InboundSource {
  readonly from: StoreId;
  /** Its frames that wait: a part of the queue, so that one peer does not take the place of the others. */
  readonly waiting: BoundedBytes;
  readonly #close: (error: CairnError) => void;
  #isBroken = false;

  constructor(from: StoreId, bytesMax: number, close: (error: CairnError) => void) {
    this.from = from;
    this.waiting = new BoundedBytes({ name: `raft frames of store ${from}`, limit: bytesMax });
    this.#close = close;
  }

  /** A frame could not be read. What it sent after that one counts for nothing. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  fail(error: CairnError): void {
    this.#isBroken = true;
    this.#close(error);
  }
}

/** How much of what waits one turn works off. */
export interface DrainBudget {
  readonly bytesMax: number;
  readonly endsAtMs: number;
  nowMs(): number;
}

/** Answers what the source must end with when no member can have sent the message. */
export type DeliverMessage = (
  from: StoreId,
  rangeId: RangeId,
  message: Message,
  hint: RaftRangeHint | undefined,
) => CairnError | undefined;

interface WaitingFrame {
  readonly source: InboundSource;
  readonly body: Buffer;
}

/**
 * Raft frames between their arrival and the turns that work them off. Bounded by bytes, in all and for each
 * source; what is over is dropped, as a network might.
 *
 * A frame is decoded as a whole before its first message is delivered: one that cannot be read changes
 * nothing and ends the session that it came by. What the core says to a message is not judged here: an
 * assertion of it ends the store.
 */
export class InboundQueue {
  readonly #bytes: BoundedBytes;
  readonly #sourceBytesMax: number;
  readonly #metrics: StoreMetrics;
  /** Those before `#head` are worked off. */
  #frames: (WaitingFrame | undefined)[] = [];
  #head = 0;
  #current: WaitingFrame | undefined;
  /**
   * The first `#count` are the messages of the frame under way; those before `#next` are delivered. The lists
   * keep their memory: a frame has at most FRAME_MESSAGES_MAX.
   */
  readonly #rangeIds: RangeId[] = [];
  readonly #messages: (Message | undefined)[] = [];
  readonly #hints: (RaftRangeHint | undefined)[] = [];
  #count = 0;
  #next = 0;

  constructor(config: Pick<StoreConfig, 'inboundBytesMax'>, metrics: StoreMetrics) {
    this.#bytes = new BoundedBytes({ name: 'raft frames of all stores', limit: config.inboundBytesMax });
    this.#sourceBytesMax = Math.ceil(config.inboundBytesMax / 4);
    this.#metrics = metrics;
  }

  /** `close` ends the session, once a frame of it cannot be read. */
  source(from: StoreId, close: (error: CairnError) => void): InboundSource {
    return new InboundSource(from, this.#sourceBytesMax, close);
  }

  /** Bytes that wait, for metrics. */
  get waitingBytes(): number {
    return this.#bytes.used;
  }

  get hasWaiting(): boolean {
    return this.#current !== undefined || this.#head < this.#frames.length;
  }

  /** Answers false when the frame was dropped. */
  push(source: InboundSource, body: Buffer): boolean {
    const { waiting } = source;
    // A frame that is longer than a whole share must get through all the same, or Raft would send it for
    // ever.
    if (!waiting.tryTakeOrAlone(body.length)) {
      this.#metrics.droppedMessage('inbound-full');
      return false;
    }
    if (!this.#bytes.tryTakeOrAlone(body.length)) {
      waiting.give(body.length);
      this.#metrics.droppedMessage('inbound-full');
      return false;
    }
    this.#frames.push({ source, body });
    return true;
  }

  /** Delivers what waits, in order, until the budget is spent; the rest stays for the next turn. */
  drain(budget: DrainBudget, deliver: DeliverMessage): void {
    let bytes = 0;
    let delivered = 0;
    for (;;) {
      if (this.#current === undefined) {
        if (bytes >= budget.bytesMax || !this.#open()) break;
      }
      const { source, body } = this.#current as WaitingFrame;
      while (this.#next < this.#count) {
        const at = this.#next;
        this.#next += 1;
        const refusal = deliver(
          source.from,
          this.#rangeIds[at] as RangeId,
          this.#messages[at] as Message,
          this.#hints[at],
        );
        if (refusal !== undefined) {
          source.fail(refusal);
          this.#next = this.#count;
        }
        delivered += 1;
        if (delivered % MESSAGES_PER_LOOK === 0 && budget.nowMs() > budget.endsAtMs) {
          if (this.#next === this.#count) this.#close();
          return;
        }
      }
      bytes += body.length;
      this.#close();
      if (budget.nowMs() > budget.endsAtMs) return;
    }
  }

  /** Decodes the next frame that can be read. */
  #open(): boolean {
    while (this.#head < this.#frames.length) {
      const frame = this.#frames[this.#head] as WaitingFrame;
      this.#frames[this.#head] = undefined;
      this.#head += 1;
      if (this.#head === this.#frames.length || this.#head === FRAMES_BEFORE_CUT) {
        this.#frames.splice(0, this.#head);
        this.#head = 0;
      }
      this.#current = frame;
      if (!frame.source.isBroken && this.#decode(frame)) return true;
      this.#close();
    }
    return false;
  }

  #decode({ source, body }: WaitingFrame): boolean {
    try {
      decodeRaftMessages(body, ENTRY_FORMAT, (rangeId, message, hint) => {
        this.#rangeIds[this.#count] = rangeId;
        this.#messages[this.#count] = message;
        this.#hints[this.#count] = hint;
        this.#count += 1;
      });
      return true;
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      this.#metrics.droppedMessage('garbled');
      source.fail(error);
      return false;
    }
  }

  /** The frame under way is worked off. */
  #close(): void {
    const frame = this.#current as WaitingFrame;
    this.#current = undefined;
    this.#messages.fill(undefined, 0, this.#count);
    this.#hints.fill(undefined, 0, this.#count);
    this.#next = 0;
    this.#count = 0;
    this.#bytes.give(frame.body.length);
    frame.source.waiting.give(frame.body.length);
  }
}
