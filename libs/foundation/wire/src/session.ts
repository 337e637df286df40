import { assert, BoundedBytes, CairnError, InvariantError, messageOf, rethrowInvariant } from '@cairn/base';
import {
  FRAME_BYTES_MAX,
  type Clock,
  type Connection,
  type LogFields,
  type Logger,
  type Timer,
  type Transport,
} from '@cairn/ports';

import { checkedBody, frameHead } from './frame-checksum.js';
import { decodeHello, decodeRefusal, encodeHello, encodeRefusal, mismatchOf } from './hello.js';
import { FrameType, type Hello, type Session, type SessionHandlers } from './session-types.js';

const HANDSHAKE_TIMEOUT_MS = 3000;
/** Longest frame before the handshake is done: nobody needs more for a hello or a refusal. */
export const HANDSHAKE_FRAME_BYTES_MAX = 64 * 1024;
/** Bytes that may wait for the handshake; above, the session closes. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/**
 * Whoever dialled asks for a sign of life this often, whatever else it sends. After so many intervals in
 * which nothing came the session ends; the side that was dialled has more patience, so that it is not the
 * first to hang up on a slow answer. A machine that lost its power says no farewell, and the system may take
 * minutes to notice.
 */
const PING_INTERVAL_MS = 1000;
/**
 * Pings of one interval that are answered. Some may arrive together after a pause of either side; those above
 * are counted and nothing else.
 */
const PINGS_ANSWERED_MAX = 4;
/** Pings and pongs of one interval above which the session ends: many minutes of an honest side's. */
const PINGS_MAX = 1000;
/** The lines that sessions write into the log. */
export const BAD_FRAME_EVENT = 'session closed by a bad frame';
export const REFUSED_EVENT = 'session refused';
const SILENT_INTERVALS_MAX = { dialled: 3, accepted: 5 } as const;

export interface OpenSessionOptions {
  readonly transport: Transport;
  readonly address: string;
  readonly hello: Hello;
  readonly handlers: SessionHandlers;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Connecting and handshake together. Default 3,000. */
  readonly handshakeTimeoutMs?: number;
  /** Why whoever answers is not the node that was meant; undefined when it is. Default: anybody will do. */
  readonly isOther?: (remote: Hello) => CairnError | undefined;
  /** Longest frame that the other side may send once it is known. Default: the longest there is. */
  readonly frameBytesMax?: number;
}

export interface AcceptSessionOptions {
  /** Our own hello; a function may answer by what the other side wants, or throw CairnError to refuse it. */
  readonly hello: Hello | ((remote: Hello) => Hello);
  readonly clock: Clock;
  readonly logger: Logger;
  readonly handshakeTimeoutMs?: number;
  /** Hears what becomes of the session, apart from its frames. */
  readonly watcher?: SessionWatcher;
  /**
   * The handshake is done; the handlers answered get every frame. A CairnError thrown refuses the session.
   */
  readonly onSession: (session: Session, remote: Hello) => SessionHandlers;
}

/** What whoever accepts sessions has to count. */
export interface SessionWatcher {
  /** The handshake is done. */
  onShaken(session: Session): void;
  /** Exactly once, also when there was no handshake. */
  onEnd(session: Session, error: Error | undefined): void;
  /** The session is not read from, until the other side takes some of what waits for it. */
  onPause(): void;
  /** A frame could not be understood; instead of the line that says so. */
  onBadFrame(line: LogFields): void;
  /** The hello of the other side was refused; likewise. */
  onRefused(line: LogFields): void;
}

interface FramedSessionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly handshakeTimeoutMs?: number | undefined;
  readonly frameBytesMax?: number | undefined;
  readonly watcher?: SessionWatcher | undefined;
}

type Side = 'dialled' | 'accepted';
type State = 'handshake' | 'ready' | 'closed';

class FramedSession implements Session {
  readonly #connection: Connection;
  readonly #side: Side;
  readonly #logger: Logger;
  readonly #watcher: SessionWatcher | undefined;
  readonly #onHandshakeFrame: (session: FramedSession, type: number, body: Buffer) => void;
  readonly #frameBytesMax: number;
  #handshakeTimer: Timer | undefined;
  #state: State = 'handshake';
  #handlers: SessionHandlers | undefined;
  #remote: Hello | undefined;
  #waiting: Uint8Array[][] = [];
  /** Frames that wait for the handshake. */
  readonly #waitingBytes = new BoundedBytes({
    name: 'frames before the handshake',
    limit: WAITING_BYTES_MAX,
  });
  readonly #clock: Clock;
  #pingTimer: Timer | undefined;
  #hasHeard = false;
  #silentIntervals = 0;
  /** The other side takes nothing, so nothing more is taken from it. */
  #isHeldBack = false;
  #queuedBefore = 0;
  /** Pings and pongs that came in this interval. */
  #pings = 0;
  #receivedBefore = 0;

  constructor(
    connection: Connection,
    side: Side,
    options: FramedSessionOptions,
    onHandshakeFrame: (session: FramedSession, type: number, body: Buffer) => void,
  ) {
    this.#connection = connection;
    this.#side = side;
    this.#watcher = options.watcher;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onHandshakeFrame = onHandshakeFrame;
    this.#frameBytesMax = options.frameBytesMax ?? FRAME_BYTES_MAX;
    const timeoutMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
    this.#handshakeTimer = options.clock.setTimer(timeoutMs, () => {
      this.#closeWith(
        new CairnError('UNAVAILABLE', `no handshake with ${this.remoteAddress} within ${timeoutMs} ms`),
      );
    });
    connection.limitFrames(HANDSHAKE_FRAME_BYTES_MAX);
    connection.setHandlers({
      onFrame: (frame) => {
        this.#onFrame(frame);
      },
      onClose: (error) => {
        this.#end(this.#reasonOf(error));
      },
      onDrain: () => {
        if (this.#isHeldBack && this.#state !== 'closed') this.#connection.resume();
        this.#isHeldBack = false;
        this.#handlers?.onDrain?.();
      },
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
    return this.#waitingBytes.used + this.#connection.queuedBytes;
  }

  get receivedBytes(): number {
    return this.#connection.receivedBytes;
  }

  setHandlers(handlers: SessionHandlers): void {
    this.#handlers = handlers;
  }

  send(type: FrameType, parts: readonly Uint8Array[]): boolean {
    if (this.#state === 'closed') return false;
    const frame: Uint8Array[] = [frameHead(type, parts)];
    for (const part of parts) frame.push(part);
    let bytes = 0;
    for (const part of frame) bytes += part.length;
    if (bytes > FRAME_BYTES_MAX) {
      // Whoever makes frames cuts them; should one forget it, that costs this session and not the process.
      this.#logger.error('frame too long', { peer: this.remoteAddress, type, bytes });
      this.#closeWith(new CairnError('INTERNAL', `a frame of ${bytes} bytes cannot be sent`));
      return false;
    }
    if (this.#state === 'ready') return this.#sendFrame(frame);
    if (!this.#waitingBytes.tryTake(bytes)) {
      this.#closeWith(this.#waitingBytes.refusal(bytes));
      return false;
    }
    this.#waiting.push(frame);
    return true;
  }

  sendHandshake(type: FrameType, body: Buffer): void {
    this.#connection.send([frameHead(type, [body]), body]);
  }

  /** The other side must not talk to this node, or not now: it hears why. */
  refuse(error: CairnError): void {
    const line = { peer: this.remoteAddress, reason: error.message };
    if (this.#watcher === undefined) this.#logger.info(REFUSED_EVENT, line);
    else this.#watcher.onRefused(line);
    this.sendHandshake(FrameType.refusal, encodeRefusal(error));
    this.#closeWith(error);
  }

  /**
   * Whoever asks and does not read the answers is not heard any further until it does: so what a session can
   * make us hold is bounded. Only on the side that was dialled, which answers; two sides that both waited for
   * each other would wait for ever.
   */
  #sendFrame(frame: readonly Uint8Array[]): boolean {
    const isBelow = this.#connection.send(frame);
    if (!isBelow && this.#side === 'accepted' && !this.#isHeldBack && this.#state === 'ready') {
      this.#isHeldBack = true;
      this.#watcher?.onPause();
      this.#connection.pause();
    }
    return isBelow;
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#connection.close();
    this.#end(undefined);
  }

  fail(error: Error): void {
    if (this.#state === 'closed') return;
    const line = { peer: this.remoteAddress, reason: messageOf(error) };
    if (this.#watcher === undefined) this.#logger.warn(BAD_FRAME_EVENT, line);
    else this.#watcher.onBadFrame(line);
    this.#closeWith(this.#reasonOf(error) ?? error);
  }

  /** What came over the network was damaged, nothing that is kept anywhere: to try again is right. */
  #reasonOf(error: Error | undefined): Error | undefined {
    if (!CairnError.is(error) || error.code !== 'CORRUPTION') return error;
    const message = `session with ${this.remoteAddress} ended: ${error.message}`;
    return new CairnError('UNAVAILABLE', message, { cause: error });
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
    this.#connection.limitFrames(this.#frameBytesMax);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes.clear();
    this.#watcher?.onShaken(this);
    for (const frame of waiting) this.#sendFrame(frame);
  }

  /** Once the session is ready. A pause of this process counts as one interval, however long it was. */
  watch(): void {
    if (this.#state !== 'ready') return;
    this.#pingTimer = this.#clock.setTimer(PING_INTERVAL_MS, () => {
      this.#silentIntervals = this.#showsLife() ? 0 : this.#silentIntervals + 1;
      this.#hasHeard = false;
      this.#pings = 0;
      if (this.#silentIntervals > SILENT_INTERVALS_MAX[this.#side]) {
        this.#closeWith(new CairnError('UNAVAILABLE', `no sign of life from ${this.remoteAddress}`));
        return;
      }
      if (this.#side === 'dialled') this.send(FrameType.ping, []);
      this.watch();
    });
  }

  /**
   * Nothing can be heard of a side that is not read from; that it takes what waits for it is as good. Of a
   * long frame on a slow line there are bytes long before it is whole.
   */
  #showsLife(): boolean {
    const before = this.#queuedBefore;
    this.#queuedBefore = this.#connection.queuedBytes;
    const received = this.#connection.receivedBytes;
    const hasReceived = received > this.#receivedBefore;
    this.#receivedBefore = received;
    return this.#hasHeard || hasReceived || (this.#isHeldBack && this.#queuedBefore < before);
  }

  /** A frame that cannot be understood, or whose handler throws, ends this session and nothing else. */
  #onFrame(frame: Buffer): void {
    if (this.#state === 'closed') return;
    this.#hasHeard = true;
    try {
      const body = checkedBody(frame);
      const type = frame[0] as FrameType;
      if (type === FrameType.refusal) this.#closeWith(decodeRefusal(body));
      else if (this.#state === 'handshake') this.#onHandshakeFrame(this, type, body);
      else if (type === FrameType.ping || type === FrameType.pong) this.#onPing(type);
      else if (type === FrameType.hello) throw new CairnError('CORRUPTION', 'second hello on one session');
      else this.#handlers?.onFrame(type, body);
    } catch (error) {
      // The program contradicts itself: that is no fault of the peer, and nothing may go on as if it were.
      if (error instanceof InvariantError) this.#closeWith(error);
      rethrowInvariant(error);
      this.fail(error instanceof Error ? error : new Error(messageOf(error)));
    }
  }

  #onPing(type: FrameType): void {
    this.#pings += 1;
    if (this.#pings > PINGS_MAX) {
      throw new CairnError('CORRUPTION', `more than ${PINGS_MAX} pings within ${PING_INTERVAL_MS} ms`);
    }
    if (type === FrameType.ping && this.#pings <= PINGS_ANSWERED_MAX) this.send(FrameType.pong, []);
  }

  #end(error: Error | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#handshakeTimer?.cancel();
    this.#pingTimer?.cancel();
    this.#waiting = [];
    this.#waitingBytes.clear();
    this.#handlers?.onClose(error);
    this.#watcher?.onEnd(this, error);
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
    'dialled',
    options,
    (self, type, body) => {
      if (type !== FrameType.hello) throw new CairnError('CORRUPTION', `frame ${type} before the hello`);
      const remote = decodeHello(body);
      const mismatch = mismatchOf(hello, remote) ?? options.isOther?.(remote);
      if (mismatch !== undefined) {
        self.refuse(mismatch);
        return;
      }
      self.becomeReady(remote);
      self.watch();
      handlers.onReady?.();
    },
  );
  session.setHandlers(handlers);
  session.sendHandshake(FrameType.hello, encodeHello(hello));
  return session;
}

/** Shakes hands on a connection that came in; a node that must not talk to us hears why. */
export function acceptSession(connection: Connection, options: AcceptSessionOptions): Session {
  return new FramedSession(connection, 'accepted', options, (self, type, body) => {
    if (type !== FrameType.hello) throw new CairnError('CORRUPTION', `frame ${type} before the hello`);
    const remote = decodeHello(body);
    try {
      const own = typeof options.hello === 'function' ? options.hello(remote) : options.hello;
      const mismatch = mismatchOf(own, remote);
      if (mismatch !== undefined) throw mismatch;
      self.sendHandshake(FrameType.hello, encodeHello(own));
      // The other side may have gone meanwhile.
      if (self.isClosed) return;
      self.becomeReady(remote);
      const handlers = options.onSession(self, remote);
      self.setHandlers(handlers);
      self.watch();
      handlers.onReady?.();
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      self.refuse(error);
    }
  });
}
