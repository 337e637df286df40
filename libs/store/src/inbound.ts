import type { RangeId, StoreId } from '@cairn/base';
import type { Message } from '@cairn/raft';
import { decodeRaftMessages, type RaftRangeHint } from '@cairn/wire';

import { ENTRY_FORMAT } from './entry-format.js';
import type { StoreMetrics } from './store-metrics.js';

/**
 * Raft frames between their arrival and the next turn. Bounded by bytes; what is over is dropped, as a
 * network might.
 */
export class InboundQueue {
  readonly #bytesMax: number;
  readonly #metrics: StoreMetrics;
  #frames: { readonly from: StoreId; readonly body: Buffer }[] = [];
  #bytes = 0;

  constructor(bytesMax: number, metrics: StoreMetrics) {
    this.#bytesMax = bytesMax;
    this.#metrics = metrics;
  }

  /** Answers false when the frame was dropped. */
  push(from: StoreId, body: Buffer): boolean {
    if (this.#bytes + body.length > this.#bytesMax) {
      this.#metrics.droppedMessage('inbound-full');
      return false;
    }
    this.#frames.push({ from, body });
    this.#bytes += body.length;
    return true;
  }

  /**
   * Decodes everything that waits. A garbled frame is given to `garbled`; those before it have been
   * delivered.
   */
  drain(
    deliver: (from: StoreId, rangeId: RangeId, message: Message, hint: RaftRangeHint | undefined) => void,
    garbled: (error: unknown) => void,
  ): void {
    if (this.#frames.length === 0) return;
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    for (const { from, body } of frames) {
      try {
        decodeRaftMessages(body, ENTRY_FORMAT, (rangeId, message, hint) => {
          deliver(from, rangeId, message, hint);
        });
      } catch (error) {
        garbled(error);
      }
    }
  }
}
