import { assert, BoundedBytes, CairnError, messageOf, rethrowInvariant } from '@cairn/base';
import { noopLogger, type Clock, type Logger, type Timer } from '@cairn/ports';

import { decodeRpcRequest, encodeRpcFailure, encodeRpcSuccess, type RpcRequestFrame } from './rpc-frames.js';
import { MESSAGE_BYTES_MAX, tooLong } from './frame-limits.js';
import { hostOf } from './host-of.js';
import {
  FrameType,
  type Hello,
  type RpcContext,
  type RpcHandler,
  type RpcMethod,
  type RpcServer,
  type Session,
  type SessionHandlers,
} from './session-types.js';

/**
 * Calls of one session that are being served; more are refused with RESOURCE_EXHAUSTED. A call that nobody
 * waits for any more keeps its place until its handler has settled: what it began goes on, so this bounds
 * work.
 */
export const RPC_SERVED_MAX = 1024;
/** Bytes of requests that are being served, of all sessions; more are refused with RESOURCE_EXHAUSTED. */
const SERVED_BYTES_MAX = 128 * 1024 * 1024;
const RETRY_AFTER_MS = 100;
/** A name of a method longer than this is not echoed whole. */
const SHOWN_METHOD_LENGTH = 64;

export interface RpcServerOptions {
  /** Enforces the callers' deadlines here too; without it only their cancel frames do. */
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly servedMax?: number;
  /** Bytes of requests that are being served, of all sessions. Default 128 MiB. */
  readonly servedBytesMax?: number;
}

/** One for all: a stack for each cancellation would cost more than the call. */
const GAVE_UP = new CairnError('CANCELLED', 'the caller gave up');

type Serve = (body: Buffer, context: RpcContext) => Promise<Uint8Array>;

/** Methods by name, served on every session that is attached. */
export class SessionRpcServer implements RpcServer {
  readonly #methods = new Map<string, Serve>();
  readonly #options: RpcServerOptions;
  readonly #servedBytes: BoundedBytes;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    const limit = options.servedBytesMax ?? SERVED_BYTES_MAX;
    this.#servedBytes = new BoundedBytes({ name: 'calls that are being served', limit });
  }

  handle<Request, Response>(
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): void {
    assert(!this.#methods.has(method.name), 'method has a handler already', { method: method.name });
    this.#methods.set(method.name, async (body, context) => {
      const request = decodedRequest(method, body);
      return method.encodeResponse(await handler(request, context));
    });
  }

  /** The session must be ready. Pass its frames and its close to the handlers answered. */
  attach(session: Session): SessionHandlers {
    const served = new ServedSession(session, {
      methods: this.#methods,
      options: this.#options,
      servedBytes: this.#servedBytes,
    });
    return {
      onFrame: (type, body) => {
        served.onFrame(type, body);
      },
      onClose: () => {
        served.onClose();
      },
    };
  }
}

/** Throws INVALID_ARGUMENT: whoever sent it is told, and nothing was done. */
function decodedRequest<Request, Response>(method: RpcMethod<Request, Response>, body: Buffer): Request {
  try {
    return method.decodeRequest(body);
  } catch (error) {
    throw new CairnError('INVALID_ARGUMENT', `a request ${method.name} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

class ServedCall implements RpcContext {
  readonly bytes: number;
  readonly remote: Hello;
  readonly #session: Session;
  timer: Timer | undefined;
  #abort: AbortController | undefined;
  #reason: CairnError | undefined;

  constructor(bytes: number, remote: Hello, session: Session) {
    this.bytes = bytes;
    this.remote = remote;
    this.#session = session;
  }

  get host(): string {
    return hostOf(this.#session.remoteAddress);
  }

  /** Made when somebody listens: most handlers never do. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#reason !== undefined) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }

  get isAborted(): boolean {
    return this.#reason !== undefined;
  }

  abort(reason: CairnError): void {
    this.timer?.cancel();
    this.#reason = reason;
    this.#abort?.abort(reason);
  }
}

class ServedSession {
  readonly #session: Session;
  readonly #methods: ReadonlyMap<string, Serve>;
  readonly #options: RpcServerOptions;
  readonly #servedBytes: BoundedBytes;
  readonly #calls = new Map<number, ServedCall>();

  constructor(
    session: Session,
    around: {
      readonly methods: ReadonlyMap<string, Serve>;
      readonly options: RpcServerOptions;
      readonly servedBytes: BoundedBytes;
    },
  ) {
    this.#session = session;
    this.#methods = around.methods;
    this.#options = around.options;
    this.#servedBytes = around.servedBytes;
  }

  onFrame(type: FrameType, body: Buffer): void {
    switch (type) {
      case FrameType.rpcRequest:
        this.#begin(decodeRpcRequest(body));
        return;
      case FrameType.rpcCancel:
        if (body.length !== 4) throw new CairnError('CORRUPTION', 'cancel frame of a wrong length');
        this.#abort(body.readUInt32LE(0), GAVE_UP);
        return;
      default:
        throw new CairnError('CORRUPTION', `frame ${type} on a serving session`);
    }
  }

  onClose(): void {
    const reason = new CairnError('CANCELLED', 'the connection of the caller closed');
    for (const id of this.#calls.keys()) this.#abort(id, reason);
  }

  #begin(frame: RpcRequestFrame): void {
    const { id, method, timeoutMs } = frame;
    const serve = this.#methods.get(method);
    const remote = this.#session.remote;
    assert(remote !== undefined, 'calls arrive on ready sessions');
    if (this.#calls.has(id)) throw new CairnError('CORRUPTION', `call ${id} is open twice`);
    if (serve === undefined) {
      this.#fail(
        id,
        new CairnError(
          'FAILED_PRECONDITION',
          `this node does not serve ${method.slice(0, SHOWN_METHOD_LENGTH)}`,
        ),
      );
      return;
    }
    if (this.#calls.size >= (this.#options.servedMax ?? RPC_SERVED_MAX)) {
      this.#fail(
        id,
        new CairnError('RESOURCE_EXHAUSTED', 'too many open calls', { retryAfterMs: RETRY_AFTER_MS }),
      );
      return;
    }
    const bytes = frame.body.length;
    if (!this.#servedBytes.tryTake(bytes)) {
      this.#fail(id, this.#servedBytes.refusal(bytes, RETRY_AFTER_MS));
      return;
    }
    const call = new ServedCall(bytes, remote, this.#session);
    call.timer = this.#options.clock?.setTimer(timeoutMs, () => {
      this.#abort(id, new CairnError('DEADLINE_EXCEEDED', `${method} took longer than ${timeoutMs} ms`));
    });
    this.#calls.set(id, call);
    serve(frame.body, call).then(
      (response) => {
        if (!this.#settle(id, call)) return;
        if (response.length <= MESSAGE_BYTES_MAX) {
          this.#session.send(FrameType.rpcResponse, [encodeRpcSuccess(id), response]);
        } else this.#fail(id, tooLong(`the answer to ${method}`, response.length));
      },
      (error: unknown) => {
        if (this.#settle(id, call)) this.#fail(id, this.#asCairnError(method, error));
      },
    );
  }

  /** A call gives its place back. True when somebody still waits for the answer. */
  #settle(id: number, call: ServedCall): boolean {
    call.timer?.cancel();
    this.#calls.delete(id);
    this.#servedBytes.give(call.bytes);
    return !call.isAborted;
  }

  #abort(id: number, reason: CairnError): void {
    const call = this.#calls.get(id);
    if (call !== undefined && !call.isAborted) call.abort(reason);
  }

  #asCairnError(method: string, error: unknown): CairnError {
    if (CairnError.is(error)) return error;
    rethrowInvariant(error);
    (this.#options.logger ?? noopLogger).error('rpc handler failed', { method, reason: messageOf(error) });
    return new CairnError('INTERNAL', `${method} failed: ${messageOf(error)}`);
  }

  #fail(id: number, error: CairnError): void {
    this.#session.send(FrameType.rpcResponse, [encodeRpcFailure(id, error)]);
  }
}

export function createRpcServer(options: RpcServerOptions = {}): SessionRpcServer {
  return new SessionRpcServer(options);
}
