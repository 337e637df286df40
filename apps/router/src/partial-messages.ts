import { Holder, SharedRoom } from '@cairn/base';
import type { Clock, Metrics, Timer } from '@cairn/ports';
import { status, type ServerInterceptingCallInterface } from '@grpc/grpc-js';

/** Bytes of messages that have not come whole, of all connections together. */
const PARTIAL_BYTES_MAX = 128 * 1024 * 1024;
/** A message that has begun is whole within this, or its call ends. */
const MESSAGE_TIMEOUT_MS = 30_000;

/** What of a call of grpc-js is looked into; a spec notices when it is not there any more. */
interface AssemblingCall {
  handleDataFrame(data: Buffer): void;
  readonly decoder: { readMessageSize: number; readMessageRemaining: number; readPartialMessage: Buffer[] };
}

const TOO_MANY = 'too many requests are being received that do not come whole';

/** What one call holds of a message that has not come whole. */
class PartialMessage extends Holder {
  readonly caller: string;
  readonly #room: SharedRoom;
  readonly #call: ServerInterceptingCallInterface;
  #timer: Timer | undefined;

  constructor(room: SharedRoom, peer: string, call: ServerInterceptingCallInterface) {
    super();
    this.#room = room;
    this.caller = peer;
    this.#call = call;
  }

  /** So much of the message has come. False: there is no room for it. */
  grow(bytes: number): boolean {
    // Another message than before: what the last one held has gone on.
    if (bytes < this.heldBytes) this.settle();
    return bytes === this.heldBytes || this.#room.tryTake(this, bytes - this.heldBytes);
  }

  /** The message has begun to come, and has its time. */
  awaitRest(clock: Clock): void {
    this.#timer ??= clock.setTimer(MESSAGE_TIMEOUT_MS, () => {
      const { decoder } = this.#call as unknown as AssemblingCall;
      const bytes = decoder.readMessageSize;
      this.refuse(
        status.DEADLINE_EXCEEDED,
        `a request of ${bytes} bytes did not come within ${MESSAGE_TIMEOUT_MS} ms`,
      );
    });
  }

  /** It is whole, or the call is over. */
  settle(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#room.release(this);
  }

  cutOff(): void {
    this.refuse(status.RESOURCE_EXHAUSTED, TOO_MANY);
  }

  refuse(code: status, details: string): void {
    this.settle();
    const inside = this.#call as unknown as AssemblingCall;
    // The rest may still come; nobody collects it.
    inside.handleDataFrame = () => undefined;
    inside.decoder.readPartialMessage = [];
    this.#call.sendStatus({ code, details });
  }
}

/**
 * Bounds what calls hold that announce a message and do not send the rest: the library puts messages together
 * before anybody is asked, and no deadline runs until one is whole. Connections have the shares of
 * `FairShare`. When there is no room, those calls of the connection end that has held most for longest, so
 * that there is room for whoever comes later, however many send no end.
 */
export class PartialMessages {
  readonly #room: SharedRoom;
  readonly #clock: Clock;

  constructor(clock: Clock, metrics: Metrics) {
    this.#clock = clock;
    const bounds = { name: 'requests that have not come whole', limit: PARTIAL_BYTES_MAX };
    this.#room = new SharedRoom(bounds, () => clock.nowMs());
    const held = metrics.gauge(
      'cairn_router_partial_request_bytes',
      'Bytes of requests that have not come whole',
    );
    const ended = metrics.counter(
      'cairn_router_partial_requests_ended_total',
      'Calls ended because their request did not come whole while others found no room',
    );
    let counted = 0;
    metrics.onCollect(() => {
      held.set(this.#room.used);
      ended.add(this.#room.ended - counted);
      counted = this.#room.ended;
    });
  }

  /** Watches what the call assembles; answers what gives everything back when the call is over. */
  watch(peer: string, call: ServerInterceptingCallInterface): () => void {
    const inside = call as unknown as AssemblingCall;
    const handle = inside.handleDataFrame.bind(call);
    const message = new PartialMessage(this.#room, peer, call);
    inside.handleDataFrame = (data) => {
      handle(data);
      const { readMessageSize, readMessageRemaining } = inside.decoder;
      if (readMessageRemaining === 0) message.settle();
      else if (message.grow(readMessageSize - readMessageRemaining)) message.awaitRest(this.#clock);
      else message.refuse(status.RESOURCE_EXHAUSTED, TOO_MANY);
    };
    return () => {
      message.settle();
    };
  }
}
