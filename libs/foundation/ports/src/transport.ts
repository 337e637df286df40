/**
 * The only way other processes enter: framed, ordered, reliable-until-broken connections (what TCP gives).
 * A frame arrives whole or the connection closes; frames of one connection arrive in order and at most once;
 * a close loses an unknown suffix of what was sent.
 */
export interface Transport {
  /** Starts accepting. The handler must set its listeners on the connection before it returns. */
  listen(address: string, onConnection: (connection: Connection) => void): Promise<Listener>;
  /** Begins to connect; frames sent before it is open are queued. Failure shows as `onClose`. */
  connect(address: string): Connection;
  /**
   * So many connections may be taken in: the files that the system lets this process open are needed for
   * other things, too. Undefined = any number.
   */
  readonly connectionsMax?: number;
}

export interface Listener {
  /** `host:port` with the real port. */
  readonly address: string;
  close(): Promise<void>;
}

export interface ConnectionHandlers {
  /** One frame, without its length prefix. The view stays valid and belongs to the receiver. */
  onFrame(frame: Buffer): void;
  /** Called exactly once, with the reason when it was not a local close. */
  onClose(error: Error | undefined): void;
  /** The queue of unsent bytes fell below the low-water mark after it had been above the high one. */
  onDrain?(): void;
}

export interface Connection {
  readonly remoteAddress: string;
  setHandlers(handlers: ConnectionHandlers): void;
  /**
   * Queues one frame made of the parts, in order. The buffers must not change afterwards. Returns false when
   * the queue of unsent bytes is above its high-water mark; the frame is queued all the same, unless the hard
   * limit is passed: then the connection is closed.
   */
  send(parts: readonly Uint8Array[]): boolean;
  /**
   * Takes nothing from the other side until `resume`: what it sends waits in the network, and then with it. A
   * few frames that were received already may still come. Sending goes on.
   */
  pause(): void;
  resume(): void;
  /**
   * The longest frame that is taken from now on; FRAME_BYTES_MAX at first. A longer announced length closes
   * the connection.
   */
  limitFrames(bytesMax: number): void;
  /** Bytes queued and not yet handed to the network. */
  readonly queuedBytes: number;
  /** Bytes that the other side has sent so far, those of frames that have not arrived whole included. */
  readonly receivedBytes: number;
  readonly isOpen: boolean;
  close(): void;
}

/** Longest frame that any connection carries; a longer announced length closes the connection. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;
