import type {
  BatchRequest,
  BatchResponse,
  ScanPage,
  ScanRequest,
  WatchRequest,
  WatchResponse,
} from './wire-binding.js';

/**
 * How the client reaches routers. The default speaks gRPC; a simulator supplies its own and runs the same
 * client in process, on virtual time. Nothing in here retries: a link is one connection, used until it fails.
 */
export interface RouterConnector {
  /** Begins to connect. Failure shows in the channel and calls of the link, not here. */
  connect(endpoint: string): RouterLink;
  /**
   * True while calls are open: the host process must not end for want of work. Called with alternating
   * values, first true. Connectors without a process may leave it out.
   */
  keepAlive?(needed: boolean): void;
}

/** One connection to one router. */
export interface RouterLink {
  /**
   * Opens the batch stream; called once per link. The handlers are called until `onClose`, never from inside
   * `openBatch`.
   */
  openBatch(handlers: BatchChannelHandlers): BatchChannel;
  /** Starts a scan. Failure shows in the first `next`. */
  scan(request: ScanRequest): ScanStream;
  /** Starts a watch. Failure shows in the first `next`. */
  watch(request: WatchRequest): WatchStream;
  /** One call of an administrative method. Rejects with CairnError. */
  unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<Response>;
  /** Ends the connection; scans and calls in progress on it may fail. Idempotent. */
  close(): void;
}

/** The shape of the generated method descriptions; `path` is `/package.Service/Method`. */
export interface UnaryMethod<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

export interface BatchChannelHandlers {
  /** One message of the server; the first carries `hello`. It belongs to the receiver. */
  onMessage(response: BatchResponse): void;
  /** More can be sent after `send` returned false. */
  onDrain(): void;
  /**
   * Exactly once, and nothing after it: the stream is over; undefined when the server ended it in good order.
   * Any suffix of what was sent may not have arrived. Not called after a local `close`.
   */
  onClose(error: Error | undefined): void;
}

/** The bidirectional stream of point operations. Messages arrive in order and at most once. */
export interface BatchChannel {
  /** Sends one message. False: it is queued, but nothing more should be sent before `onDrain`. */
  send(request: BatchRequest): boolean;
  /** Ends the stream at once; unanswered operations stay unclear. Idempotent. */
  close(): void;
}

/** What a server streams; pulling is what asks it for more. One `next` at a time. */
export interface MessageStream<Message> {
  /** The next message; undefined after the last. Rejects with CairnError, then the stream is over. */
  next(): Promise<Message | undefined>;
  /** Gives up; a waiting `next` rejects or never settles. Idempotent. */
  cancel(): void;
}

/** Pages of one scan. */
export type ScanStream = MessageStream<ScanPage>;
export type WatchStream = MessageStream<WatchResponse>;
