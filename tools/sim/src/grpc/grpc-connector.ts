import {
  CairnError,
  errorFromGrpc,
  type BatchChannel,
  type BatchChannelHandlers,
  type MessageStream,
  type RouterConnector,
  type RouterLink,
  type ScanStream,
  type UnaryMethod,
  type WatchStream,
} from '@cairn/client';
import type { Connection, Transport } from '@cairn/ports';
import { decodeScanPage } from '@cairn/wire';
import { KVService, type ScanRequest } from '@cairn/wire/gen/cairn/v1/kv.js';
import { WatchService, type WatchRequest } from '@cairn/wire/gen/cairn/v1/watch.js';
import { decodeBatchResponse, encodeBatchRequest } from '@cairn/wire/grpc-batch-client.js';

import { MessageReceiver, MessageSender } from './flow.js';
import {
  decodeCredit,
  decodeFrame,
  decodeStatus,
  encodeOpen,
  GrpcFrame,
  wireOf,
  type GrpcStatus,
  type StreamWire,
} from './frames.js';

const UNAVAILABLE = 14;

/** Routers over the simulated network, as one client process reaches them. */
export function simGrpcConnector(transport: Transport, windowBytes: number): RouterConnector {
  return { connect: (endpoint) => new SimRouterLink(transport, endpoint, windowBytes) };
}

/** The client's side of one call. */
class ClientCall {
  readonly sender: MessageSender;
  readonly receiver: MessageReceiver;
  readonly #wire: StreamWire;
  readonly #forget: () => void;
  /** Something arrived, or the call ended. */
  onArrival: () => void = () => undefined;
  onDrain: () => void = () => undefined;
  status: GrpcStatus | undefined;

  constructor(wire: StreamWire, windowBytes: number, forget: () => void) {
    this.#wire = wire;
    this.#forget = forget;
    this.sender = new MessageSender(wire, windowBytes, () => {
      this.onDrain();
    });
    this.receiver = new MessageReceiver(wire, windowBytes);
  }

  /** Sends the only message of a call that has one. */
  sendOnly(message: Uint8Array): void {
    this.sender.write(message);
    this.sender.end(() => {
      this.#wire.send(GrpcFrame.end);
    });
  }

  end(status: GrpcStatus): void {
    this.status ??= status;
    this.onArrival();
  }

  cancel(): void {
    if (this.status !== undefined) return;
    this.#wire.send(GrpcFrame.cancel);
    this.#forget();
  }
}

class SimRouterLink implements RouterLink {
  readonly #endpoint: string;
  readonly #windowBytes: number;
  readonly #connection: Connection;
  readonly #calls = new Map<number, ClientCall>();
  #streams = 0;
  #lost: GrpcStatus | undefined;

  constructor(transport: Transport, endpoint: string, windowBytes: number) {
    this.#endpoint = endpoint;
    this.#windowBytes = windowBytes;
    this.#connection = transport.connect(endpoint);
    this.#connection.setHandlers({
      onFrame: (frame) => {
        this.#onFrame(frame);
      },
      onClose: (error) => {
        this.#lose(error?.message ?? 'the connection was closed');
      },
    });
  }

  #onFrame(frame: Buffer): void {
    const { kind, stream, payload } = decodeFrame(frame);
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    switch (kind) {
      case GrpcFrame.message:
        call.receiver.push(payload);
        call.onArrival();
        return;
      case GrpcFrame.credit:
        call.sender.grant(decodeCredit(payload));
        return;
      case GrpcFrame.status:
        this.#calls.delete(stream);
        call.end(decodeStatus(payload));
        return;
      default:
        throw new Error(`a server does not send frames of kind ${kind}`);
    }
  }

  #lose(reason: string): void {
    const lost = { code: UNAVAILABLE, message: reason, details: Buffer.alloc(0) };
    this.#lost ??= lost;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.end(lost);
  }

  #open(path: string, timeoutMs: number): ClientCall {
    this.#streams += 1;
    const stream = this.#streams;
    const wire = wireOf(this.#connection, stream);
    const call = new ClientCall(wire, this.#windowBytes, () => this.#calls.delete(stream));
    if (this.#lost === undefined) {
      this.#calls.set(stream, call);
      wire.send(GrpcFrame.open, encodeOpen(path, Math.ceil(timeoutMs)));
    } else call.end(this.#lost);
    return call;
  }

  #errorOf({ code, message, details }: GrpcStatus): CairnError | undefined {
    if (code === 0) return undefined;
    const statusDetails = details.length === 0 ? undefined : details;
    return errorFromGrpc({ code, details: message, statusDetails }, this.#endpoint);
  }

  openBatch(handlers: BatchChannelHandlers): BatchChannel {
    const call = this.#open(KVService.batch.path, 0);
    let isClosed = false;
    call.onDrain = () => {
      if (!isClosed) handlers.onDrain();
    };
    call.onArrival = () => {
      while (!isClosed) {
        const bytes = call.receiver.take();
        if (bytes === undefined) break;
        handlers.onMessage(decodeBatchResponse(bytes));
      }
      if (isClosed || call.status === undefined) return;
      isClosed = true;
      handlers.onClose(this.#errorOf(call.status));
    };
    return {
      send: (request) => call.sender.write(encodeBatchRequest(request)),
      close: () => {
        if (isClosed) return;
        isClosed = true;
        call.cancel();
      },
    };
  }

  scan(request: ScanRequest): ScanStream {
    return this.#streamed({ ...KVService.scan, responseDeserialize: decodeScanPage }, request);
  }

  watch(request: WatchRequest): WatchStream {
    return this.#streamed(WatchService.watch, request);
  }

  #streamed<Request, Message>(
    method: UnaryMethod<Request, Message>,
    request: Request,
  ): MessageStream<Message> {
    const call = this.#open(method.path, 0);
    call.sendOnly(method.requestSerialize(request));
    let isCancelled = false;
    const take = (): Promise<Message | undefined> | undefined => {
      const bytes = call.receiver.take();
      if (bytes !== undefined) return Promise.resolve(method.responseDeserialize(bytes));
      if (isCancelled) return Promise.reject(new CairnError('CANCELLED', 'the call was given up'));
      if (call.status === undefined) return undefined;
      const error = this.#errorOf(call.status);
      return error === undefined ? Promise.resolve(undefined) : Promise.reject(error);
    };
    return {
      next: () =>
        take() ??
        new Promise((resolve, reject) => {
          call.onArrival = () => {
            const taken = take();
            if (taken === undefined) return;
            call.onArrival = () => undefined;
            taken.then(resolve, reject);
          };
        }),
      cancel: () => {
        if (isCancelled) return;
        isCancelled = true;
        call.cancel();
        call.onArrival();
      },
    };
  }

  unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const call = this.#open(method.path, options.timeoutMs);
      const cancel = (): void => {
        call.cancel();
        call.end({ code: 1, message: 'cancelled', details: Buffer.alloc(0) });
      };
      call.onArrival = () => {
        if (call.status === undefined) return;
        options.signal?.removeEventListener('abort', cancel);
        const bytes = call.receiver.take();
        const error = this.#errorOf(call.status);
        if (error !== undefined) reject(error);
        else if (bytes !== undefined) resolve(method.responseDeserialize(bytes));
        else reject(new CairnError('INTERNAL', `${method.path} was answered with nothing`));
      };
      options.signal?.addEventListener('abort', cancel, { once: true });
      if (call.status !== undefined) call.onArrival();
      call.sendOnly(method.requestSerialize(request));
    });
  }

  close(): void {
    this.#connection.close();
    this.#lose('the link was closed');
  }
}
