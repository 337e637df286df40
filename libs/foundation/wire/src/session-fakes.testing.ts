import { storeId } from '@cairn/base';
import type { Clock, Connection, ConnectionHandlers } from '@cairn/ports';

import { frameHead } from './frame-checksum.js';
import type { FrameType, Hello } from './session-types.js';

/** What both ends say. */
export const HELLO: Hello = {
  protocols: { min: 1, max: 1 },
  clusterVersions: { min: 1, max: 1 },
  build: 'test',
  purpose: 'raft',
  clusterId: 'c',
  kind: 'shard',
  name: 'n',
  storeId: storeId(1),
};

/** Timers fire when the test says so. */
export class HandClock {
  #timers: { atMs: number; callback: () => void; isLive: boolean }[] = [];
  nowMs = 0;

  readonly clock = {
    nowMs: () => this.nowMs,
    setTimer: (delayMs: number, callback: () => void) => {
      const timer = { atMs: this.nowMs + delayMs, callback, isLive: true };
      this.#timers.push(timer);
      return {
        cancel: () => {
          timer.isLive = false;
        },
      };
    },
  } as unknown as Clock;

  advance(byMs: number): void {
    this.nowMs += byMs;
    const due = this.#timers.filter(({ atMs, isLive }) => isLive && atMs <= this.nowMs);
    this.#timers = this.#timers.filter((timer) => !due.includes(timer));
    for (const { callback } of due) callback();
  }
}

/** The end of a connection whose other end is the test. */
export class FakeConnection {
  readonly sent: number[] = [];
  queuedBytes = 0;
  receivedBytes = 0;
  isAboveHigh = false;
  isPaused = false;
  isClosed = false;
  frameBytesMax = Infinity;
  #handlers: ConnectionHandlers | undefined;

  readonly connection: Connection;

  constructor(remoteAddress = 'peer:1') {
    const queuedBytes = (): number => this.queuedBytes;
    const receivedBytes = (): number => this.receivedBytes;
    this.connection = {
      remoteAddress,
      get queuedBytes() {
        return queuedBytes();
      },
      get receivedBytes() {
        return receivedBytes();
      },
      isOpen: true,
      setHandlers: (given) => {
        this.#handlers = given;
      },
      send: (parts) => {
        this.sent.push(parts[0]?.[0] ?? 0);
        return !this.isAboveHigh;
      },
      pause: () => {
        this.isPaused = true;
      },
      resume: () => {
        this.isPaused = false;
      },
      limitFrames: (bytesMax) => {
        this.frameBytesMax = bytesMax;
      },
      close: () => {
        this.isClosed = true;
      },
    };
  }

  deliver(type: FrameType, body: Uint8Array = Buffer.alloc(0)): void {
    this.deliverRaw(Buffer.concat([frameHead(type, [body]), body]));
  }

  deliverRaw(frame: Buffer): void {
    this.#handlers?.onFrame(frame);
  }

  /** The other end takes what waited. */
  drain(): void {
    this.queuedBytes = 0;
    this.isAboveHigh = false;
    this.#handlers?.onDrain?.();
  }

  end(error: Error): void {
    this.#handlers?.onClose(error);
  }
}
