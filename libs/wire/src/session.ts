import { assert, CairnError, InvariantError, messageOf } from '@cairn/base';
import type { Clock, Connection, Logger, Timer, Transport } from '@cairn/ports';

import { decodeHello, decodeRefusal, encodeHello, encodeRefusal, mismatchOf } from './hello.js';
import { FrameType, type Hello, type Session, type SessionHandlers } from './session-types.js';

const HANDSHAKE_TIMEOUT_MS = 3000;
/** Bytes that may wait for the handshake; above, the session closes. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/**
 * Whoever dialled asks for a sign of life this often, whatever else it sends. After so many intervals in
 * which nothing came the session ends; the side that was dialled has more patience, so that it is not the
 * first to hang up on a slow answer. A machine that lost its power says no farewell, and the system may take
 * minutes to notice.
 */
const PING_INTERVAL_MS = 1000;
const SILENT_INTERVALS_MAX = { dialled: 3, accepted: 5 } as const;
const FRAME_TYPE_MAX = FrameType.pong;
/** One-byte prefixes, by frame type; never changed. */
const TYPE_BYTES: readonly Buffer[] = Array.from({ length: FRAME_TYPE_MAX + 1 }, (_, type) =>
  Buffer.from([type]),
);

export interface OpenSessionOptions {
  readonly transport: Transport;
  readonly address: string;
  readonly hello: Hello;
  readonly handlers: SessionHandlers;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Connecting and handshake together. Default 3,000. */
  readonly handshakeTimeoutMs?: number;
}

export interface AcceptSessionOptions {
  /** Our own hello; a function may answer by what the other side wants, or throw CairnError to refuse it. */
  readonly hello: Hello | ((remote: Hello) => Hello);
  readonly clock: Clock;
  readonly logger: Logger;
  readonly handshakeTimeoutMs?: number;
  /**
   * The handshake is done; the handlers answered get every frame. A CairnError thrown refuses the session.
   */
  readonly onSession: (session: Session, remote: Hello) => SessionHandlers;
}

type State = 'handshake' | 'ready' | 'closed';

class FramedSession implements Session {
  readonly #connection: Connection;
  readonly #logger: Logger;
  readonly #onHandshakeFrame: (session: FramedSession, type: number, body: Buffer) => void;
  #handshakeTimer: Timer | undefined;
  #state: State = 'handshake';
  #handlers: SessionHandlers | undefined;
  #remote: Hello | undefined;
  #waiting: Uint8Array[][] = [];
  #waitingBytes = 0;
  readonly #clock: Clock;
  #pingTimer: Timer | undefined;
  #hasHeard = false;
  #silentIntervals = 0;

  constructor(
    connection: Connection,
    options: {
      readonly clock: Clock;
      readonly logger: Logger;
      readonly handshakeTimeoutMs?: number | undefined;
    },
    onHandshakeFrame: (session: FramedSession, type: number, body: Buffer) => void,
  ) {
    this.#connection = connection;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onHandshakeFrame = onHandshakeFrame;
    const timeoutMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
    this.#handshakeTimer = options.clock.setTimer(timeoutMs, () => {
      this.#closeWith(
        new CairnError('UNAVAILABLE', `no handshake with ${this.remoteAddress} within ${timeoutMs} ms`),
      );
    });
    connection.setHandlers({
      onFrame: (frame) => {
        this.#onFrame(frame);
      },
      onClose: (error) => {
        this.#end(error);
      },
      onDrain: () => this.#handlers?.onDrain?.(),
    });
  }

  get remote(): Hello | undefined {
    return this.#remote;
  }
  get remoteAddress(): string {
    return this.#connection.remoteAddress;
  }
  get isReady(): boolean {
    return this.#state === 'ready';
  }
  get isClosed(): boolean {
    return this.#state === 'closed';
  }
  get queuedBytes(): number {
    return this.#waitingBytes + this.#connection.queuedBytes;
  }

  setHandlers(handlers: SessionHandlers): void {
    this.#handlers = handlers;
  }

  send(type: FrameType, parts: readonly Uint8Array[]): boolean {
    if (this.#state === 'closed') return false;
    const frame: Uint8Array[] = [TYPE_BYTES[type] as Buffer];
    for (const part of parts) frame.push(part);
    if (this.#state === 'ready') return this.#connection.send(frame);
    for (const part of frame) this.#waitingBytes += part.length;
    this.#waiting.push(frame);
    if (this.#waitingBytes <= WAITING_BYTES_MAX) return true;
    this.#closeWith(
      new CairnError('RESOURCE_EXHAUSTED', `${this.#waitingBytes} bytes wait for ${this.remoteAddress}`),
    );
    return false;
  }

  sendHandshake(type: FrameType, body: Buffer): void {
    this.#connection.send([TYPE_BYTES[type] as Buffer, body]);
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#connection.close();
    this.#end(undefined);
  }

  fail(error: Error): void {
    if (this.#state === 'closed') return;
    this.#logger.warn('session closed by a bad frame', {
      peer: this.remoteAddress,
      reason: messageOf(error),
    });
    this.#closeWith(error);
  }

  #closeWith(error: Error): void {
    if (this.#state === 'closed') return;
    this.#connection.close();
    this.#end(error);
  }

  /** The other side is known and welcome: what waited leaves. */
  becomeReady(remote: Hello): void {
    assert(this.#state === 'handshake', 'one handshake per session');
    this.#state = 'ready';
    this.#remote = remote;
    this.#handshakeTimer?.cancel();
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const frame of waiting) this.#connection.send(frame);
  }

  /** Once the session is ready. A pause of this process counts as one interval, however long it was. */
  watch(side: keyof typeof SILENT_INTERVALS_MAX): void {
    if (this.#state !== 'ready') return;
    this.#pingTimer = this.#clock.setTimer(PING_INTERVAL_MS, () => {
      this.#silentIntervals = this.#hasHeard ? 0 : this.#silentIntervals + 1;
      this.#hasHeard = false;
      if (this.#silentIntervals > SILENT_INTERVALS_MAX[side]) {
        this.#closeWith(new CairnError('UNAVAILABLE', `no sign of life from ${this.remoteAddress}`));
        return;
      }
      if (side === 'dialled') this.send(FrameType.ping, []);
      this.watch(side);
    });
  }

  /** A frame that cannot be understood, or whose handler throws, ends this session and nothing else. */
  #onFrame(frame: Buffer): void {
    if (this.#state === 'closed') return;
    this.#hasHeard = true;
    try {
      const type = frame[0] ?? 0;
      if (type < 1 || type > FRAME_TYPE_MAX)
        throw new CairnError('CORRUPTION', `frame of unknown type ${type}`);
      const body = frame.subarray(1);
      if (type === FrameType.refusal) this.#closeWith(decodeRefusal(body));
      else if (this.#state === 'handshake') this.#onHandshakeFrame(this, type, body);
      else if (type === FrameType.ping) this.send(FrameType.pong, []);
      else if (type === FrameType.pong) return;
      else if (type === FrameType.hello) throw new CairnError('CORRUPTION', 'second hello on one session');
      else this.#handlers?.onFrame(type as FrameType, body);
    } catch (error) {
      // The program contradicts itself: that is no fault of the peer, and nothing may go on as if it were.
      if (error instanceof InvariantError) {
        this.#closeWith(error);
        throw error;
      }
      this.fail(error instanceof Error ? error : new Error(messageOf(error)));
    }
  }

  #end(error: Error | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#handshakeTimer?.cancel();
    this.#pingTimer?.cancel();
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#handlers?.onClose(error);
  }
}

/**
 * Connects and shakes hands. Failures, refusals included, show as `onClose`: UNAVAILABLE, CLUSTER_MISMATCH,
 * FAILED_PRECONDITION (protocol versions), or the code the other side refused with.
 */
export function openSession(options: OpenSessionOptions): Session {
  const { handlers, hello } = options;
  const session = new FramedSession(
    options.transport.connect(options.address),
    options,
    (self, type, body) => {
      if (type !== FrameType.hello) throw new CairnError('CORRUPTION', `frame ${type} before the hello`);
      const remote = decodeHello(body);
      const mismatch = mismatchOf(hello, remote);
      if (mismatch !== undefined) throw mismatch;
      self.becomeReady(remote);
      self.watch('dialled');
      handlers.onReady?.();
    },
  );
  session.setHandlers(handlers);
  session.sendHandshake(FrameType.hello, encodeHello(hello));
  return session;
}

/** Shakes hands on a connection that came in; a node that must not talk to us hears why. */
export function acceptSession(connection: Connection, options: AcceptSessionOptions): Session {
  return new FramedSession(connection, options, (self, type, body) => {
    if (type !== FrameType.hello) throw new CairnError('CORRUPTION', `frame ${type} before the hello`);
    const remote = decodeHello(body);
    try {
      const own = typeof options.hello === 'function' ? options.hello(remote) : options.hello;
      const mismatch = mismatchOf(own, remote);
      if (mismatch !== undefined) throw mismatch;
      self.sendHandshake(FrameType.hello, encodeHello(own));
      self.becomeReady(remote);
      const handlers = options.onSession(self, remote);
      self.setHandlers(handlers);
      self.watch('accepted');
      handlers.onReady?.();
    } catch (error) {
      if (CairnError.is(error)) self.sendHandshake(FrameType.refusal, encodeRefusal(error));
      throw error;
    }
  });
}
