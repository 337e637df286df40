import { BoundedBytes } from '@cairn/base';
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

/**
 * Bounds what calls hold that announce a message and do not send the rest: the library puts messages together
 * before anybody is asked, and no deadline runs until one is whole. One connection gets at most half of what
 * is free, so that there is room for those that come later.
 */
export class PartialMessages {
  readonly #budget = new BoundedBytes({
    name: 'requests that have not come whole',
    limit: PARTIAL_BYTES_MAX,
  });
  readonly #byPeer = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock, metrics: Metrics) {
    this.#clock = clock;
    const held = metrics.gauge(
      'cairn_router_partial_request_bytes',
      'Bytes of requests that have not come whole',
    );
    metrics.onCollect(() => {
      held.set(this.#budget.used);
    });
  }

  /** Watches what the call assembles; answers what gives everything back when the call is over. */
  watch(peer: string, call: ServerInterceptingCallInterface): () => void {
    const inside = call as unknown as AssemblingCall;
    const handle = inside.handleDataFrame.bind(call);
    let held = 0;
    let timer: Timer | undefined;
    const settle = (): void => {
      timer?.cancel();
      timer = undefined;
      this.#give(peer, held);
      held = 0;
    };
    const refuse = (code: status, details: string): void => {
      settle();
      // The rest may still come; nobody collects it.
      inside.handleDataFrame = () => undefined;
      inside.decoder.readPartialMessage = [];
      call.sendStatus({ code, details });
    };
    inside.handleDataFrame = (data) => {
      handle(data);
      const { readMessageSize, readMessageRemaining } = inside.decoder;
      if (readMessageRemaining === 0) {
        if (held > 0) settle();
        return;
      }
      const now = readMessageSize - readMessageRemaining;
      // Another message than before: what the last one held has gone on.
      if (now < held) settle();
      if (now === held) return;
      if (!this.#grow(peer, held, now)) {
        refuse(status.RESOURCE_EXHAUSTED, 'too many requests are being received that do not come whole');
        return;
      }
      held = now;
      timer ??= this.#clock.setTimer(MESSAGE_TIMEOUT_MS, () => {
        const details = `a request of ${readMessageSize} bytes did not come within ${MESSAGE_TIMEOUT_MS} ms`;
        refuse(status.DEADLINE_EXCEEDED, details);
      });
    };
    return settle;
  }

  #grow(peer: string, held: number, now: number): boolean {
    const ofPeer = this.#byPeer.get(peer) ?? 0;
    const more = now - held;
    const free = this.#budget.limit - this.#budget.used;
    if (ofPeer + more > (free + ofPeer) / 2) return false;
    if (held > 0) this.#budget.resize(held, now);
    else if (!this.#budget.tryTake(now)) return false;
    this.#byPeer.set(peer, ofPeer + more);
    return true;
  }

  #give(peer: string, bytes: number): void {
    if (bytes === 0) return;
    this.#budget.give(bytes);
    const left = (this.#byPeer.get(peer) ?? 0) - bytes;
    if (left > 0) this.#byPeer.set(peer, left);
    else this.#byPeer.delete(peer);
  }
}
