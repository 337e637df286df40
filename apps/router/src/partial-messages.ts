import { BoundedBytes, FairShare, Holder, Holders } from '@cairn/base';
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
  readonly #room: PartialMessages;
  readonly #call: ServerInterceptingCallInterface;
  #timer: Timer | undefined;

  constructor(room: PartialMessages, peer: string, call: ServerInterceptingCallInterface) {
    super();
    this.#room = room;
    this.caller = peer;
    this.#call = call;
  }

  /** So much of the message has come. False: there is no room for it. */
  grow(bytes: number): boolean {
    // Another message than before: what the last one held has gone on.
    if (bytes < this.heldBytes) this.settle();
    if (bytes === this.heldBytes) return true;
    if (!this.#room.take(this, bytes - this.heldBytes)) return false;
    this.heldBytes = bytes;
    return true;
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
    if (this.heldBytes > 0) this.#room.give(this);
    this.heldBytes = 0;
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
  readonly #budget = new BoundedBytes({
    name: 'requests that have not come whole',
    limit: PARTIAL_BYTES_MAX,
  });
  readonly #share = new FairShare(PARTIAL_BYTES_MAX);
  readonly #byPeer = new Map<string, number>();
  readonly #holders: Holders;
  readonly #clock: Clock;

  constructor(clock: Clock, metrics: Metrics) {
    this.#clock = clock;
    this.#holders = new Holders(() => clock.nowMs());
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
      held.set(this.#budget.used);
      ended.add(this.#holders.ended - counted);
      counted = this.#holders.ended;
    });
  }

  /** Watches what the call assembles; answers what gives everything back when the call is over. */
  watch(peer: string, call: ServerInterceptingCallInterface): () => void {
    const inside = call as unknown as AssemblingCall;
    const handle = inside.handleDataFrame.bind(call);
    const message = new PartialMessage(this, peer, call);
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

  /** For `PartialMessage` alone: room for so many bytes more. */
  take(message: PartialMessage, bytes: number): boolean {
    const { caller, heldBytes } = message;
    if (!this.#hasRoom(caller, bytes)) {
      const isFloor = this.#share.isBelowFloor(this.#byPeer.get(caller) ?? 0, bytes);
      const isEnded = this.#holders.endLaggard(isFloor, message);
      if (!isEnded || !this.#hasRoom(caller, bytes)) return false;
    }
    if (heldBytes > 0) this.#budget.resize(heldBytes, heldBytes + bytes);
    else {
      this.#budget.take(bytes);
      message.heldSinceMs = this.#clock.nowMs();
      this.#holders.add(message);
    }
    this.#byPeer.set(caller, (this.#byPeer.get(caller) ?? 0) + bytes);
    return true;
  }

  /** For `PartialMessage` alone: it holds nothing any more. */
  give(message: PartialMessage): void {
    const { caller, heldBytes } = message;
    this.#budget.give(heldBytes);
    this.#holders.remove(message);
    const left = (this.#byPeer.get(caller) ?? 0) - heldBytes;
    if (left > 0) this.#byPeer.set(caller, left);
    else this.#byPeer.delete(caller);
  }

  #hasRoom(peer: string, bytes: number): boolean {
    return this.#share.allows(this.#byPeer.get(peer) ?? 0, bytes, this.#budget.used);
  }
}
