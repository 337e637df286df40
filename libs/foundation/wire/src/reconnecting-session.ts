import type { CairnError } from '@cairn/base';
import type { Clock, Logger, Rng, Timer, Transport } from '@cairn/ports';

import { openSession } from './session.js';
import type { FrameType, Hello, Session } from './session-types.js';

const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2000;
/** A session that lived this long counts as healthy: the next failure is retried at once again. */
const HEALTHY_AFTER_MS = 1000;

export interface ReconnectingSessionOptions {
  readonly transport: Transport;
  /** Asked before every attempt: addresses change. */
  readonly address: () => string;
  readonly hello: () => Hello;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly onFrame: (type: FrameType, body: Buffer) => void;
  readonly onUp?: (session: Session) => void;
  /** A ready session ended, or an attempt failed; the next attempt is already planned. */
  readonly onDown?: (error: Error | undefined, wasUp: boolean) => void;
  readonly onDrain?: () => void;
  /** See `OpenSessionOptions`. */
  readonly frameBytesMax?: number;
  /** See `OpenSessionOptions`: an address may belong to another node by now. */
  readonly isOther?: (remote: Hello) => CairnError | undefined;
}

/**
 * A session for a pair of nodes that belong together: comes back by itself, at once after a healthy session,
 * otherwise after 50 ms doubling to 2 s, each shortened by up to half by chance. Holds nothing back: what is
 * sent while it is down is dropped and counted.
 */
export class ReconnectingSession {
  readonly #options: ReconnectingSessionOptions;
  #session: Session | undefined;
  #timer: Timer | undefined;
  #failures = 0;
  #upSinceMs = 0;
  #droppedFrames = 0;
  #isClosed = false;

  constructor(options: ReconnectingSessionOptions) {
    this.#options = options;
    this.#connect();
  }

  get isUp(): boolean {
    return this.#session?.isReady === true;
  }
  get remote(): Hello | undefined {
    return this.#session?.remote;
  }
  get queuedBytes(): number {
    return this.#session?.queuedBytes ?? 0;
  }
  /** Frames dropped because the session was down. */
  get droppedFrames(): number {
    return this.#droppedFrames;
  }

  /**
   * False when the frame was dropped because the session is down, or when its queue is above the high-water
   * mark.
   */
  send(type: FrameType, parts: readonly Uint8Array[]): boolean {
    const session = this.#session;
    if (session?.isReady !== true) {
      this.#droppedFrames += 1;
      return false;
    }
    return session.send(type, parts);
  }

  /**
   * Connects at once if it rests between two attempts, because there is a sign that the other side is back.
   * Later rests stay as long as they would have been.
   */
  retryNow(): void {
    if (this.#isClosed || this.#session !== undefined || this.#timer === undefined) return;
    this.#timer.cancel();
    this.#connect();
  }

  /** Ends the session for good. `onDown` follows when it was up. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#session?.close();
  }

  #connect(): void {
    this.#timer = undefined;
    const { clock, onUp, onDown, onFrame, onDrain, address, hello, transport, logger } = this.#options;
    let wasUp = false;
    const session = openSession({
      transport,
      address: address(),
      hello: hello(),
      clock,
      logger,
      ...(this.#options.isOther === undefined ? {} : { isOther: this.#options.isOther }),
      ...(this.#options.frameBytesMax === undefined ? {} : { frameBytesMax: this.#options.frameBytesMax }),
      handlers: {
        onReady: () => {
          wasUp = true;
          this.#upSinceMs = clock.nowMs();
          onUp?.(session);
        },
        onFrame,
        onClose: (error) => {
          this.#session = undefined;
          this.#plan(wasUp);
          if (wasUp || !this.#isClosed) onDown?.(error, wasUp);
        },
        onDrain: () => onDrain?.(),
      },
    });
    this.#session = session;
  }

  #plan(wasUp: boolean): void {
    if (this.#isClosed) return;
    const { clock, rng } = this.#options;
    if (wasUp && clock.nowMs() - this.#upSinceMs >= HEALTHY_AFTER_MS) this.#failures = 0;
    const fullMs =
      this.#failures === 0
        ? 0
        : Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(this.#failures - 1, 10));
    this.#failures += 1;
    this.#timer = clock.setTimer(fullMs * (0.5 + rng.next() / 2), () => {
      this.#connect();
    });
  }
}
