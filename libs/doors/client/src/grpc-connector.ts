import { CairnError, messageOf } from '@cairn/base';
import {
  Client,
  credentials,
  Metadata,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { errorFromGrpc, STATUS_DETAILS_KEY } from './errors.js';
import type {
  BatchChannel,
  BatchChannelHandlers,
  RouterConnector,
  MessageStream,
  RouterLink,
  ScanStream,
  UnaryMethod,
  WatchStream,
} from './router-link.js';
import {
  BATCH_METHOD,
  SCAN_METHOD,
  WATCH_METHOD,
  type BatchRequest,
  type BatchResponse,
  type ScanRequest,
  type WatchRequest,
} from './wire-binding.js';

/** Larger than any message either side makes (a full batch of the longest values); a bound all the same. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

const CHANNEL_OPTIONS = {
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // Each link is one attempt to connect: sharing another link's waiting connection would delay failover.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
} as const;

export interface GrpcConnectorOptions {
  /** TLS or other channel credentials of grpc-js; default plain text. */
  readonly credentials?: ChannelCredentials;
}

/** Routers over gRPC. */
export function grpcConnector(options: GrpcConnectorOptions = {}): RouterConnector {
  const channelCredentials = options.credentials ?? credentials.createInsecure();
  let anchor: InstanceType<typeof MessagePort> | undefined;
  return {
    connect: (endpoint) => new GrpcRouterLink(endpoint, channelCredentials),
    // Timers of the Clock port do not keep a process alive; while a call waits for a router to come back,
    // nothing else might. A listening message port does, costs nothing and is switched by ref and unref.
    keepAlive: (needed) => {
      if (anchor === undefined) {
        anchor = new MessageChannel().port1;
        anchor.on('message', () => undefined);
      }
      if (needed) anchor.ref();
      else anchor.unref();
    },
  };
}

function toCairnError(error: unknown, endpoint: string): CairnError {
  if (CairnError.is(error)) return error;
  const service = error as Partial<ServiceError>;
  if (typeof service.code !== 'number') {
    return new CairnError('UNAVAILABLE', `${endpoint}: ${messageOf(error)}`, { cause: error });
  }
  const first = service.metadata?.get(STATUS_DETAILS_KEY)[0];
  return errorFromGrpc(
    {
      code: service.code,
      details: service.details ?? messageOf(error),
      statusDetails: first instanceof Uint8Array ? first : undefined,
    },
    endpoint,
  );
}

class GrpcRouterLink implements RouterLink {
  readonly #endpoint: string;
  readonly #client: Client;

  constructor(endpoint: string, channelCredentials: ChannelCredentials) {
    this.#endpoint = endpoint;
    this.#client = new Client(endpoint, channelCredentials, CHANNEL_OPTIONS);
  }

  openBatch(handlers: BatchChannelHandlers): BatchChannel {
    const stream = this.#client.makeBidiStreamRequest<BatchRequest, BatchResponse>(
      BATCH_METHOD.path,
      BATCH_METHOD.requestSerialize,
      BATCH_METHOD.responseDeserialize,
      new Metadata(),
      {},
    );
    return new GrpcBatchChannel(stream, this.#endpoint, handlers);
  }

  scan(request: ScanRequest): ScanStream {
    const stream = this.#client.makeServerStreamRequest(
      SCAN_METHOD.path,
      SCAN_METHOD.requestSerialize,
      SCAN_METHOD.responseDeserialize,
      request,
      new Metadata(),
      {},
    );
    return new GrpcMessageStream(stream, this.#endpoint);
  }

  watch(request: WatchRequest): WatchStream {
    const stream = this.#client.makeServerStreamRequest(
      WATCH_METHOD.path,
      WATCH_METHOD.requestSerialize,
      WATCH_METHOD.responseDeserialize,
      request,
      new Metadata(),
      {},
    );
    return new GrpcMessageStream(stream, this.#endpoint);
  }

  unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      // A relative deadline through the header, because gRPC's own option is an absolute wall time.
      const metadata = new Metadata();
      metadata.set('grpc-timeout', `${Math.min(99_999_999, Math.ceil(options.timeoutMs))}m`);
      const call = this.#client.makeUnaryRequest<Request, Response>(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        metadata,
        (error, response) => {
          options.signal?.removeEventListener('abort', cancel);
          if (error !== null) reject(toCairnError(error, this.#endpoint));
          else resolve(response as Response);
        },
      );
      const cancel = (): void => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  close(): void {
    this.#client.close();
  }
}

class GrpcBatchChannel implements BatchChannel {
  readonly #stream: ClientDuplexStream<BatchRequest, BatchResponse>;
  #closed = false;

  constructor(
    stream: ClientDuplexStream<BatchRequest, BatchResponse>,
    endpoint: string,
    handlers: BatchChannelHandlers,
  ) {
    this.#stream = stream;
    stream.on('data', (response: BatchResponse) => {
      if (!this.#closed) handlers.onMessage(response);
    });
    stream.on('drain', () => {
      if (!this.#closed) handlers.onDrain();
    });
    // A failed stream ends too: error and status say which it was, and the error comes first.
    stream.on('error', (error: Error) => {
      this.#end(handlers, toCairnError(error, endpoint));
    });
    stream.on('status', () => {
      this.#end(handlers, undefined);
    });
  }

  #end(handlers: BatchChannelHandlers, error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    handlers.onClose(error);
  }

  send(request: BatchRequest): boolean {
    return this.#stream.write(request);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.cancel();
  }
}

/**
 * Messages through the stream's own iterator: they are asked for as they are taken. grpc-js reads ahead at
 * most 16 messages into its buffer; beyond that HTTP/2 flow control holds the server back.
 */
class GrpcMessageStream<Message> implements MessageStream<Message> {
  readonly #stream: ClientReadableStream<Message>;
  readonly #messages: AsyncIterator<Message>;
  readonly #endpoint: string;

  constructor(stream: ClientReadableStream<Message>, endpoint: string) {
    this.#stream = stream;
    this.#endpoint = endpoint;
    // The iterator reports errors to `next`; this listener is for those that come when nobody waits.
    stream.on('error', () => undefined);
    this.#messages = stream[Symbol.asyncIterator]() as AsyncIterator<Message>;
  }

  async next(): Promise<Message | undefined> {
    try {
      const result = await this.#messages.next();
      return result.done === true ? undefined : result.value;
    } catch (error) {
      throw toCairnError(error, this.#endpoint);
    }
  }

  cancel(): void {
    this.#stream.cancel();
  }
}
