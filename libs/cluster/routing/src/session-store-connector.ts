import type { StoreId, Timestamp } from '@cairn/base';
import {
  FRAME_CUT_MESSAGES,
  FrameType,
  type KvRequest,
  type KvResponse,
  type Session,
  type SessionHandlers,
} from '@cairn/wire';
import type { StoreConnector, StoreLink, StoreLinkHandlers } from './store-link.js';

/**
 * Collects requests into the body of one `kvRequests` frame; what `KvRequestEncoder` of `@cairn/wire`
 * promises.
 */
export interface RequestEncoder {
  /** The frame must be sent before another request is added. */
  readonly isFull: boolean;
  readonly count: number;
  add(request: KvRequest): void;
  take(): readonly Uint8Array[];
}

export interface SessionStoreConnectorOptions {
  /** Opens a `kv` session; the handlers are in place before it returns. */
  openSession(address: string, handlers: SessionHandlers): Session;
  createEncoder(): RequestEncoder;
  decodeResponses(body: Buffer): {
    readonly maxTimestamp: Timestamp;
    readonly responses: readonly KvResponse[];
  };
  encodeCancel(sequences: readonly number[]): readonly Uint8Array[];
}

/** Of a frame whose answers are no larger than this on average nothing had to wait for. */
const SMALL_ANSWER_BYTES = 4 * 1024;
/** What a frame has before its body: length, type and checksum. */
const FRAME_HEAD_BYTES = 9;

class SessionStoreLink implements StoreLink {
  readonly #options: SessionStoreConnectorOptions;
  readonly #session: Session;
  readonly #encoder: RequestEncoder;
  #isClosed = false;
  /** Bytes of frames of small answers. */
  #smallBytes = 0;

  constructor(
    options: SessionStoreConnectorOptions,
    target: { address: string; storeId: StoreId; handlers: StoreLinkHandlers },
  ) {
    const { handlers } = target;
    this.#options = options;
    this.#encoder = options.createEncoder();
    this.#session = options.openSession(target.address, {
      onReady: () => {
        if (this.#isClosed) return;
        const remote = this.#session.remote?.storeId;
        // An address may have been given to another node since it was learnt.
        if (remote !== target.storeId) {
          this.#isClosed = true;
          this.#session.close();
          handlers.onDown(new Error(`${target.address} is store ${String(remote)}, not ${target.storeId}`));
          return;
        }
        handlers.onUp();
      },
      onFrame: (type, body) => {
        if (this.#isClosed) return;
        if (type !== FrameType.kvResponses) {
          this.#smallBytes += body.length + FRAME_HEAD_BYTES;
          return;
        }
        const { maxTimestamp, responses } = options.decodeResponses(body);
        if (body.length <= SMALL_ANSWER_BYTES * responses.length)
          this.#smallBytes += body.length + FRAME_HEAD_BYTES;
        handlers.onResponses(responses, maxTimestamp);
      },
      onClose: (error) => {
        if (this.#isClosed) return;
        this.#isClosed = true;
        handlers.onDown(error);
      },
    });
  }

  get largeBytes(): number {
    return this.#session.receivedBytes - this.#smallBytes;
  }

  get queuedBytes(): number {
    return this.#session.queuedBytes;
  }

  send(requests: readonly KvRequest[]): void {
    for (const request of requests) {
      this.#encoder.add(request);
      if (this.#encoder.isFull) this.#session.send(FrameType.kvRequests, this.#encoder.take());
    }
    if (this.#encoder.count > 0) this.#session.send(FrameType.kvRequests, this.#encoder.take());
  }

  cancel(sequences: readonly number[]): void {
    for (let at = 0; at < sequences.length; at += FRAME_CUT_MESSAGES) {
      const some = sequences.slice(at, at + FRAME_CUT_MESSAGES);
      this.#session.send(FrameType.kvCancel, this.#options.encodeCancel(some));
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#session.close();
  }
}

/**
 * Shard nodes over framed sessions. The codec comes in as functions, so that this package depends on
 * contracts only.
 */
export function sessionStoreConnector(options: SessionStoreConnectorOptions): StoreConnector {
  return {
    connect: (storeId, address, handlers) => new SessionStoreLink(options, { storeId, address, handlers }),
  };
}
