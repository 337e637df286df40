import { CairnError, messageOf } from '@cairn/base';
import type { Clock, Logger, Timer, Transport } from '@cairn/ports';

import { MESSAGE_BYTES_MAX, tooLong } from './frame-limits.js';
import { decodeRpcResponse, encodeRpcCancel, encodeRpcRequest } from './rpc-frames.js';
import { openSession } from './session.js';
import {
  FrameType,
  type Hello,
  type RpcCallOptions,
  type RpcClient,
  type RpcMethod,
  type Session,
} from './session-types.js';

/** Open calls of one client; more are refused with RESOURCE_EXHAUSTED. */
export const RPC_CALLS_MAX = 1024;

interface OpenCall {
  resolve(body: Buffer): void;
  reject(error: unknown): void;
  readonly timer: Timer;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
}

/** The calling half of a session. The session's owner passes frames and the close on. */
export class SessionRpcClient implements RpcClient {
  readonly #session: Pick<Session, 'send' | 'isClosed' | 'remoteAddress'>;
  readonly #clock: Clock;
  readonly #callsMax: number;
  readonly #calls = new Map<number, OpenCall>();
  #lastId = 0;

  constructor(
    session: Pick<Session, 'send' | 'isClosed' | 'remoteAddress'>,
    options: { readonly clock: Clock; readonly callsMax?: number },
  ) {
    this.#session = session;
    this.#clock = options.clock;
    this.#callsMax = options.callsMax ?? RPC_CALLS_MAX;
  }

  get openCalls(): number {
    return this.#calls.size;
  }

  async call<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Request,
    options: RpcCallOptions,
  ): Promise<Response> {
    options.signal?.throwIfAborted();
    if (this.#session.isClosed) {
      throw new CairnError('UNAVAILABLE', `no connection with ${this.#session.remoteAddress}`);
    }
    if (this.#calls.size >= this.#callsMax) {
      throw new CairnError('RESOURCE_EXHAUSTED', `${this.#callsMax} calls are open`, { retryAfterMs: 100 });
    }
    const encoded = method.encodeRequest(request);
    if (encoded.length > MESSAGE_BYTES_MAX) throw tooLong(`the request ${method.name}`, encoded.length);
    const body = await this.#exchange(method.name, encoded, options);
    try {
      return method.decodeResponse(body);
    } catch (cause) {
      const from = this.#session.remoteAddress;
      const message = `the answer of ${from} to ${method.name} cannot be read: ${messageOf(cause)}`;
      throw new CairnError('INTERNAL', message, { cause });
    }
  }

  #exchange(name: string, request: Uint8Array, options: RpcCallOptions): Promise<Buffer> {
    this.#lastId = this.#lastId === 0xffffffff ? 1 : this.#lastId + 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#giveUp(id, options.signal?.reason);
      };
      const timer = this.#clock.setTimer(options.timeoutMs, () => {
        const waited = `${name} was not answered within ${options.timeoutMs} ms`;
        this.#giveUp(id, new CairnError('DEADLINE_EXCEEDED', waited));
      });
      options.signal?.addEventListener('abort', onAbort, { once: true });
      this.#calls.set(id, { resolve, reject, timer, signal: options.signal, onAbort });
      this.#session.send(FrameType.rpcRequest, [encodeRpcRequest(id, options.timeoutMs, name), request]);
    });
  }

  #giveUp(id: number, reason: unknown): void {
    const call = this.#take(id);
    if (call === undefined) return;
    this.#session.send(FrameType.rpcCancel, [encodeRpcCancel(id)]);
    call.reject(reason);
  }

  #take(id: number): OpenCall | undefined {
    const call = this.#calls.get(id);
    if (call === undefined) return undefined;
    this.#calls.delete(id);
    call.timer.cancel();
    call.signal?.removeEventListener('abort', call.onAbort);
    return call;
  }

  onFrame(type: FrameType, body: Buffer): void {
    if (type !== FrameType.rpcResponse)
      throw new CairnError('CORRUPTION', `frame ${type} on a calling session`);
    const response = decodeRpcResponse(body);
    const call = this.#take(response.id);
    if (response.type === 'success') call?.resolve(response.body);
    else call?.reject(response.error);
  }

  /** Rejects everything open. A refusal's code is kept, so that callers see CLUSTER_MISMATCH. */
  onClose(error: Error | undefined): void {
    const reason = CairnError.is(error)
      ? error
      : new CairnError(
          'UNAVAILABLE',
          `connection with ${this.#session.remoteAddress} closed: ${messageOf(error)}`,
        );
    for (const id of [...this.#calls.keys()]) this.#take(id)?.reject(reason);
  }
}

/** The calling half of a session of purpose `rpc`; pass `onFrame` and `onClose` on to it. */
export function createRpcClient(
  session: Pick<Session, 'send' | 'isClosed' | 'remoteAddress'>,
  options: { readonly clock: Clock; readonly callsMax?: number },
): SessionRpcClient {
  return new SessionRpcClient(session, options);
}

export interface RpcPoolOptions {
  readonly transport: Transport;
  readonly hello: () => Hello;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * One calling session per address, opened by the first call and again after it closed. Bounded by the
 * addresses asked.
 */
export class RpcPool {
  readonly #options: RpcPoolOptions;
  readonly #open = new Map<string, { readonly session: Session; readonly client: SessionRpcClient }>();

  constructor(options: RpcPoolOptions) {
    this.#options = options;
  }

  /** Calls to this address; a failed connection rejects the calls that waited for it. */
  client(address: string): RpcClient {
    return { call: (method, request, options) => this.#clientOf(address).call(method, request, options) };
  }

  #clientOf(address: string): SessionRpcClient {
    const known = this.#open.get(address);
    if (known !== undefined) return known.client;
    const { transport, clock, logger, hello } = this.#options;
    const session: Session = openSession({
      transport,
      address,
      clock,
      logger,
      hello: hello(),
      handlers: {
        onFrame: (type, body) => {
          client.onFrame(type, body);
        },
        onClose: (error) => {
          if (this.#open.get(address)?.client === client) this.#open.delete(address);
          client.onClose(error);
        },
      },
    });
    const client = new SessionRpcClient(session, { clock });
    this.#open.set(address, { session, client });
    return client;
  }

  close(): void {
    for (const { session } of [...this.#open.values()]) session.close();
    this.#open.clear();
  }
}
