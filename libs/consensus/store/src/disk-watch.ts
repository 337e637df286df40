import type { KvEngine } from '@cairn/engine';
import type { Clock, Logger } from '@cairn/ports';
import type { RaftLog } from '@cairn/raft-log';

import { HandOver, type HandedReplica } from './hand-over.js';

/** A durable write of the log that takes longer than this: its disk hangs. */
const HANGS_MS = 3_000;

export interface DiskWatchParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: Pick<RaftLog, 'writingMs' | 'isWaitingForRoom'>;
  readonly engine: Pick<KvEngine, 'isOutOfRoom'>;
  replicas(): Iterable<HandedReplica>;
}

/**
 * A store whose disk takes nothing, for lack of room or because it hangs, can commit nothing that it leads,
 * and yet its heartbeats go out and nobody else would lead. So it lets others, and says what is wrong.
 */
export class DiskWatch {
  readonly #parts: DiskWatchParts;
  readonly #handOver: HandOver;
  #hungMs = 0;

  constructor(parts: DiskWatchParts) {
    this.#parts = parts;
    this.#handOver = new HandOver(parts);
  }

  /** The disk has no room for what the log or the engine has to write: they wait for some. */
  get isOutOfRoom(): boolean {
    return this.#parts.log.isWaitingForRoom || this.#parts.engine.isOutOfRoom === true;
  }

  /** For how long the disk has not finished a write of the log; 0 = it does in time. */
  get hangsMs(): number {
    const { writingMs } = this.#parts.log;
    return writingMs > HANGS_MS ? writingMs : 0;
  }

  /** With each tick. */
  poll(): void {
    const { hangsMs } = this;
    this.#note(hangsMs);
    this.#handOver.poll(hangsMs > 0 || this.isOutOfRoom);
  }

  #note(hangsMs: number): void {
    const { logger } = this.#parts;
    if (hangsMs > 0 && this.#hungMs === 0) {
      logger.warn('the disk does not answer, others are asked to lead', { forMs: Math.round(hangsMs) });
    } else if (hangsMs === 0 && this.#hungMs > 0) {
      logger.info('the disk answers again', { afterMs: Math.round(this.#hungMs) });
    }
    this.#hungMs = hangsMs;
  }
}
