import type { RangeId } from '@cairn/base';
import type { Message } from '@cairn/raft';
import { decodeRaftMessages, type RaftRangeHint } from '@cairn/wire';

import { ENTRY_FORMAT } from './entry-format.js';
import type { StoreMetrics } from './store-metrics.js';

/** Raft frames between their arrival and the next turn. Bounded by bytes; what is over is dropped, as a network might. */
export class InboundQueue {
  readonly #bytesMax: number;
  readonly #metrics: StoreMetrics;
  #frames: Buffer[] = [];
  #bytes = 0;

  constructor(bytesMax: number, metrics: StoreMetrics) {
    this.#bytesMax = bytesMax;
    this.#metrics = metrics;
  }

  /** Answers false when the frame was dropped. */
  push(body: Buffer): boolean {
    if (this.#bytes + body.length > this.#bytesMax) {
      this.#metrics.droppedMessage('inbound-full');
      return false;
    }
    this.#frames.push(body);
    this.#bytes += body.length;
    return true;
  }

  /** Decodes everything that waits. A garbled frame is given to `garbled`; those before it have been delivered. */
  drain(
    deliver: (rangeId: RangeId, message: Message, hint: RaftRangeHint | undefined) => void,
    garbled: (error: unknown) => void,
  ): void {
    if (this.#frames.length === 0) return;
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    for (const frame of frames) {
      try {
        decodeRaftMessages(frame, ENTRY_FORMAT, deliver);
      } catch (error) {
        garbled(error);
      }
    }
  }
}
