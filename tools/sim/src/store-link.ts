import { storeId } from '@cairn/base';
import type { Clock, Logger, Transport } from '@cairn/ports';
import {
  createRpcClient,
  decodeKvResponses,
  encodeKvCancel,
  FrameType,
  KvRequestEncoder,
  openSession,
  PROTOCOL_VERSION,
  type Hello,
  type KvRequest,
  type KvResponse,
  type RpcClient,
  type Session,
} from '@cairn/wire';

export interface LinkPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly transport: Transport;
}

/** `lost`: the connection broke with the request on its way. `unsent`: it never left. */
export type Exchange =
  | { readonly type: 'answer'; readonly response: KvResponse }
  | { readonly type: 'lost' }
  | { readonly type: 'timeout' };

type Waiting = (exchange: Exchange) => void;

function helloOf(name: string, purpose: Hello['purpose']): Hello {
  return {
    protocolVersion: PROTOCOL_VERSION,
    purpose,
    clusterId: '',
    kind: 'tool',
    name,
    storeId: storeId(0),
  };
}

/** A client's connection to one shard node for requests. Opened when needed, opened anew after it broke. */
export class StoreLink {
  readonly #name: string;
  readonly #address: string;
  readonly #ports: LinkPorts;
  readonly #seen: (timestamp: number) => void;
  readonly #encoder = new KvRequestEncoder();
  #waiting = new Map<number, Waiting>();
  #session: Session | undefined;
  #sequence = 0;

  constructor(options: {
    name: string;
    address: string;
    ports: LinkPorts;
    seen: (timestamp: number) => void;
  }) {
    this.#name = options.name;
    this.#address = options.address;
    this.#ports = options.ports;
    this.#seen = options.seen;
  }

  #open(): Session {
    if (this.#session !== undefined && !this.#session.isClosed) return this.#session;
    const waiting = new Map<number, Waiting>();
    this.#waiting = waiting;
    const session = openSession({
      transport: this.#ports.transport,
      address: this.#address,
      hello: helloOf(this.#name, 'kv'),
      clock: this.#ports.clock,
      logger: this.#ports.logger,
      handlers: {
        onFrame: (type, body) => {
          if (type !== FrameType.kvResponses) return;
          const { maxTimestamp, responses } = decodeKvResponses(body);
          this.#seen(maxTimestamp);
          for (const response of responses) {
            const done = waiting.get(response.sequence);
            waiting.delete(response.sequence);
            done?.({ type: 'answer', response });
          }
        },
        onClose: () => {
          if (this.#session === session) this.#session = undefined;
          for (const done of [...waiting.values()]) done({ type: 'lost' });
          waiting.clear();
        },
      },
    });
    this.#session = session;
    return session;
  }

  /** Sends one request, which is given its sequence and timeout here. */
  exchange(request: KvRequest, timeoutMs: number): Promise<Exchange> {
    const session = this.#open();
    const waiting = this.#waiting;
    this.#sequence += 1;
    const sequence = this.#sequence;
    request.sequence = sequence;
    request.timeoutMs = timeoutMs;
    return new Promise((resolve) => {
      const timer = this.#ports.clock.setTimer(timeoutMs, () => {
        waiting.delete(sequence);
        if (!session.isClosed) session.send(FrameType.kvCancel, encodeKvCancel([sequence]));
        resolve({ type: 'timeout' });
      });
      waiting.set(sequence, (exchange) => {
        timer.cancel();
        resolve(exchange);
      });
      this.#encoder.add(request);
      session.send(FrameType.kvRequests, this.#encoder.take());
    });
  }

  close(): void {
    this.#session?.close();
  }
}

/** One call of an operator's kind, over a session of its own. */
export async function callOnce<Result>(
  target: { readonly name: string; readonly address: string; readonly ports: LinkPorts },
  call: (client: RpcClient) => Promise<Result>,
): Promise<Result> {
  const { clock, logger, transport } = target.ports;
  const session = openSession({
    transport,
    address: target.address,
    hello: helloOf(target.name, 'rpc'),
    clock,
    logger,
    handlers: {
      onFrame: (type, body) => {
        client.onFrame(type, body);
      },
      onClose: (error) => {
        client.onClose(error);
      },
    },
  });
  const client = createRpcClient(session, { clock });
  try {
    return await call(client);
  } finally {
    session.close();
  }
}
