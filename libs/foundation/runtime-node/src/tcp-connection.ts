import type { Socket } from 'node:net';

import { assert, CairnError, messageOf } from '@cairn/base';
import { FRAME_BYTES_MAX, type Connection, type ConnectionHandlers } from '@cairn/ports';

import { FrameParser, LENGTH_BYTES } from './frame-parser.js';
import type { FrameRoom } from './frame-room.js';
import type { FrameTurns } from './frame-turns.js';

export interface TcpLimits {
  /** Unsent bytes above which `send` answers false. Default 8 MiB. */
  readonly highWaterBytes: number;
  /** Unsent bytes below which `onDrain` follows. Default 2 MiB. */
  readonly lowWaterBytes: number;
  /** Unsent bytes above which the connection is closed. Default 256 MiB. */
  readonly queuedBytesMax: number;
  /** Default 3,000. */
  readonly connectTimeoutMs: number;
  /**
   * Bytes of frames that have not arrived whole, of all connections; one that finds no room closes. Default
   * 512 MiB.
   */
  readonly assemblyBytesMax: number;
}

/** Parts below this are copied together; larger ones go to the system as they are. */
const COPY_BYTES_MAX = 4096;
/**
 * Bytes given to the system at a time. It tells when a write is through, not how far it has come: so that a
 * slow reader is not taken for one that reads nothing.
 */
const WRITE_BYTES_MAX = 1024 * 1024;
/** How long a locally closed connection may take to hand over what was queued. */
const LINGER_MS = 1000;

/** A framed TCP connection. Everything sent within one turn of the event loop goes out in one writev. */
export class TcpConnection implements Connection {
  readonly remoteAddress: string;
  readonly #socket: Socket;
  readonly #limits: TcpLimits;
  readonly #parser: FrameParser;
  #handlers: ConnectionHandlers | undefined;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #receivedBytes = 0;
  #isAboveHigh = false;
  #isConnected: boolean;
  #isClosed = false;
  #connectTimer: NodeJS.Timeout | undefined;
  readonly #turns: FrameTurns;
  /** What has come and waits for later turns: chunks, and how much of the first is done. */
  #rest: Buffer[] = [];
  #restFrom = 0;
  #isContinuing = false;
  /** The other side is gone; that is told after the rest. */
  #farewell: CairnError | undefined;
  /** By its owner. */
  #isPaused = false;

  constructor(
    socket: Socket,
    remoteAddress: string,
    around: { readonly limits: TcpLimits; readonly assembly: FrameRoom; readonly turns: FrameTurns },
  ) {
    this.#socket = socket;
    this.remoteAddress = remoteAddress;
    this.#limits = around.limits;
    this.#isConnected = !socket.connecting;
    this.#turns = around.turns;
    this.#parser = new FrameParser(
      (frame) => {
        this.#turns.take();
        this.#handlers?.onFrame(frame);
      },
      (error) => {
        this.#finish(new CairnError(error.code, `${remoteAddress}: ${error.message}`));
      },
      around.assembly,
    );
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.on('data', this.#onData);
    socket.on('error', (error) => {
      this.#finish(
        new CairnError('UNAVAILABLE', `connection with ${remoteAddress}: ${error.message}`, { cause: error }),
      );
    });
    socket.on('close', () => {
      this.#farewell = new CairnError('UNAVAILABLE', `${remoteAddress} closed the connection`);
      // What the other side sent before is not lost by waiting for its turn.
      if (this.#rest.length === 0) this.#finish(this.#farewell);
    });
    if (!this.#isConnected) this.#awaitConnect();
  }

  #awaitConnect(): void {
    const { connectTimeoutMs } = this.#limits;
    this.#connectTimer = setTimeout(() => {
      this.#finish(
        new CairnError('UNAVAILABLE', `${this.remoteAddress} did not accept within ${connectTimeoutMs} ms`),
      );
    }, connectTimeoutMs);
    this.#socket.once('connect', () => {
      this.#isConnected = true;
      clearTimeout(this.#connectTimer);
    });
  }

  get queuedBytes(): number {
    return this.#partBytes + this.#socket.writableLength;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  get isOpen(): boolean {
    return this.#isConnected && !this.#isClosed;
  }

  setHandlers(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#isClosed) return false;
    let bytes = 0;
    for (const part of parts) bytes += part.length;
    assert(bytes <= FRAME_BYTES_MAX, 'frame too long');
    const length = Buffer.allocUnsafe(LENGTH_BYTES);
    length.writeUInt32LE(bytes, 0);
    // Next tick, not setImmediate: senders collect a turn's frames themselves and send from the check phase;
    // waiting for another one would put a poll of all sockets between them and the network.
    if (this.#parts.length === 0) process.nextTick(this.#flush);
    this.#parts.push(length);
    for (const part of parts) this.#parts.push(part);
    this.#partBytes += bytes + LENGTH_BYTES;
    const queued = this.queuedBytes;
    if (queued <= this.#limits.highWaterBytes) return true;
    this.#isAboveHigh = true;
    if (queued > this.#limits.queuedBytesMax) {
      this.#finish(
        new CairnError(
          'RESOURCE_EXHAUSTED',
          `${this.remoteAddress} takes nothing: ${queued} bytes are waiting for it`,
        ),
      );
    }
    return false;
  }

  readonly #flush = (): void => {
    if (this.#parts.length === 0 || this.#socket.destroyed) return;
    // Goes on when that is through; on a close everything is handed over at once.
    if (!this.#isClosed && this.#socket.writableLength >= WRITE_BYTES_MAX) return;
    let left = this.#partBytes;
    const parts = this.#take();
    left -= this.#partBytes;
    this.#socket.cork();
    let first = 0;
    let smallBytes = 0;
    for (let at = 0; at <= parts.length; at += 1) {
      const part = parts[at];
      if (part !== undefined && part.length < COPY_BYTES_MAX) {
        smallBytes += part.length;
        continue;
      }
      if (smallBytes > 0) {
        left -= smallBytes;
        this.#write(joined(parts, { first, end: at, bytes: smallBytes }), left === 0);
      }
      if (part !== undefined) {
        left -= part.length;
        this.#write(part, left === 0);
      }
      first = at + 1;
      smallBytes = 0;
    }
    this.#socket.uncork();
  };

  /** What is written next: everything, or the first WRITE_BYTES_MAX of it. */
  #take(): Uint8Array[] {
    const parts = this.#parts;
    if (this.#partBytes <= WRITE_BYTES_MAX || this.#isClosed) {
      this.#parts = [];
      this.#partBytes = 0;
      return parts;
    }
    const taken: Uint8Array[] = [];
    let whole = 0;
    let room = WRITE_BYTES_MAX;
    for (; room > 0; whole += 1) {
      const part = parts[whole] as Uint8Array;
      taken.push(part.subarray(0, room));
      if (part.length > room) {
        parts[whole] = part.subarray(room);
        break;
      }
      room -= part.length;
    }
    parts.splice(0, whole);
    this.#partBytes -= WRITE_BYTES_MAX;
    return taken;
  }

  #write(bytes: Uint8Array, isLast: boolean): void {
    if (isLast) this.#socket.write(bytes, this.#afterWrite);
    else this.#socket.write(bytes);
  }

  readonly #afterWrite = (): void => {
    if (this.#parts.length > 0) this.#flush();
    if (!this.#isAboveHigh || this.#isClosed || this.queuedBytes > this.#limits.lowWaterBytes) return;
    this.#isAboveHigh = false;
    this.#handlers?.onDrain?.();
  };

  readonly #onData = (chunk: Buffer): void => {
    this.#receivedBytes += chunk.length;
    // After a local close the rest is read and thrown away: unread bytes would make the system reset the
    // connection.
    if (this.#isClosed) return;
    if (this.#rest.length > 0) {
      this.#rest.push(chunk);
      return;
    }
    const done = this.#parse(chunk, 0);
    if (done < chunk.length) this.#keep(chunk, done);
  };

  /** Answers how far it came. */
  #parse(chunk: Buffer, from: number): number {
    try {
      return this.#parser.push(chunk, from, this.#turns.allowance);
    } catch (error) {
      // The handlers keep their errors to themselves; what comes here is the parser's, or a contradiction.
      if (!CairnError.is(error)) throw error;
      this.#finish(new CairnError(error.code, `${this.remoteAddress}: ${messageOf(error)}`));
      return chunk.length;
    }
  }

  /** What was read already still comes while the socket is paused: a chunk or two, no more. */
  #keep(chunk: Buffer, from: number): void {
    if (this.#isClosed) return;
    this.#rest.push(chunk);
    this.#restFrom = from;
    this.#socket.pause();
    this.#continueLater();
  }

  #continueLater(): void {
    if (this.#isContinuing) return;
    this.#isContinuing = true;
    setImmediate(this.#continue);
  }

  readonly #continue = (): void => {
    this.#isContinuing = false;
    const [chunk] = this.#rest;
    if (chunk === undefined || this.#isClosed || this.#isPaused) return;
    const done = this.#parse(chunk, this.#restFrom);
    if (this.#isClosed) return;
    this.#restFrom = done;
    if (done === chunk.length) {
      this.#rest.shift();
      this.#restFrom = 0;
    }
    if (this.#rest.length > 0) this.#continueLater();
    else if (this.#farewell !== undefined) this.#finish(this.#farewell);
    else if (!this.#isPaused) this.#socket.resume();
  };

  pause(): void {
    this.#isPaused = true;
    if (!this.#isClosed) this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#rest.length > 0) this.#continueLater();
    else this.#socket.resume();
  }

  limitFrames(bytesMax: number): void {
    this.#parser.limitFrames(bytesMax);
  }

  /** Hands over what was sent, then closes; after LINGER_MS at the latest. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parser.stop();
    this.#rest = [];
    clearTimeout(this.#connectTimer);
    this.#flush();
    this.#socket.resume();
    // Where nothing was said nothing can get lost: a refused connection keeps no file open.
    if (this.#isConnected && this.#socket.bytesWritten > 0) {
      this.#socket.end();
      const timer = setTimeout(() => {
        this.#socket.destroy();
      }, LINGER_MS);
      timer.unref();
      this.#socket.once('close', () => {
        clearTimeout(timer);
      });
    } else {
      this.#socket.destroy();
    }
    const handlers = this.#handlers;
    process.nextTick(() => handlers?.onClose(undefined));
  }

  #finish(error: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parser.stop();
    this.#rest = [];
    clearTimeout(this.#connectTimer);
    this.#parts = [];
    this.#partBytes = 0;
    this.#socket.destroy();
    const handlers = this.#handlers;
    process.nextTick(() => handlers?.onClose(error));
  }
}

function joined(
  parts: readonly Uint8Array[],
  span: { readonly first: number; readonly end: number; readonly bytes: number },
): Uint8Array {
  if (span.end - span.first === 1) return parts[span.first] as Uint8Array;
  const buffer = Buffer.allocUnsafe(span.bytes);
  let at = 0;
  for (let index = span.first; index < span.end; index += 1) {
    const part = parts[index] as Uint8Array;
    buffer.set(part, at);
    at += part.length;
  }
  return buffer;
}
