import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';

import { BoundedBytes, FairShare, Holder, Holders, rethrowInvariant } from '@cairn/base';
import type { Clock, Metrics } from '@cairn/ports';
import { FairGate } from '@cairn/router-node';
import { status } from '@grpc/grpc-js';

/** Messages that are unpacked at a time, and of one connection: each may take all that a request may have. */
const AT_A_TIME = 4;
const PER_CALLER = 2;
/** Bytes of messages that are being unpacked or wait for it, of all connections. */
const PACKED_BYTES_MAX = 64 * 1024 * 1024;

const UNPACK = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const;

/** Why a message is not unpacked; grpc-js ends its call with it. */
export interface UnpackFailure {
  readonly code: status;
  readonly details: string;
}

/** A message that is held until it is unpacked. */
class PackedMessage extends Holder {
  readonly caller: string;
  readonly #room: Unpacker;
  readonly #over = new AbortController();
  isCut = false;
  isReleased = false;

  constructor(room: Unpacker, caller: string, bytes: number) {
    super();
    this.#room = room;
    this.caller = caller;
    this.heldBytes = bytes;
  }

  /** Aborts when nobody waits for it any more. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  readonly giveUp = (): void => {
    this.#over.abort();
  };

  cutOff(): void {
    this.isCut = true;
    this.#room.release(this);
    this.giveUp();
  }
}

/**
 * Unpacks requests, few at a time and connections by turns: a thousand calls of one connection that bring
 * some kilobytes each could unpack to gigabytes together. What waits has a bound as well, with the shares of
 * `FairShare`: it is whole, and no other bound knows of it yet.
 */
export class Unpacker {
  readonly #bytesMax: number;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #gate = new FairGate<string>(AT_A_TIME, PER_CALLER);
  readonly #packed: BoundedBytes;
  readonly #share: FairShare;
  readonly #byCaller = new Map<string, number>();
  readonly #holders: Holders;

  /** `packedBytesMax`: for tests. */
  constructor(
    bytesMax: number,
    context: { readonly clock: Pick<Clock, 'nowMs'>; readonly metrics: Metrics },
    packedBytesMax = PACKED_BYTES_MAX,
  ) {
    this.#bytesMax = bytesMax;
    this.#clock = context.clock;
    this.#packed = new BoundedBytes({ name: 'packed requests', limit: packedBytesMax });
    this.#share = new FairShare(packedBytesMax);
    this.#holders = new Holders(() => context.clock.nowMs());
    const waiting = context.metrics.gauge(
      'cairn_router_packed_requests',
      'Requests that wait to be unpacked',
    );
    const bytes = context.metrics.gauge(
      'cairn_router_packed_request_bytes',
      'Bytes of requests that are being unpacked or wait for it',
    );
    context.metrics.onCollect(() => {
      waiting.set(this.#gate.waiting);
      bytes.set(this.#packed.used);
    });
  }

  /** Rejects with an `UnpackFailure`, and with nothing else: the library sends what it is given. */
  async unpack(peer: string, bytes: Buffer, encoding: string, signal: AbortSignal): Promise<Buffer> {
    if (encoding !== 'gzip' && encoding !== 'deflate')
      throw failure(status.UNIMPLEMENTED, 'the request is packed in a way that is not known here');
    const message = new PackedMessage(this, peer, bytes.length);
    this.#hold(message);
    signal.addEventListener('abort', message.giveUp, { once: true });
    if (signal.aborted) message.giveUp();
    try {
      return await this.#inTurn(message, bytes, encoding);
    } finally {
      signal.removeEventListener('abort', message.giveUp);
      this.release(message);
    }
  }

  async #inTurn(message: PackedMessage, bytes: Buffer, encoding: keyof typeof UNPACK): Promise<Buffer> {
    try {
      await this.#gate.enter(message.caller, message.signal);
    } catch (error) {
      rethrowInvariant(error);
      throw message.isCut
        ? failure(status.RESOURCE_EXHAUSTED, 'others need the room of packed requests that wait')
        : failure(status.CANCELLED, 'the caller gave up');
    }
    // What is being unpacked ends by itself, and nothing would be free before.
    this.#holders.remove(message);
    try {
      return await UNPACK[encoding](bytes, { maxOutputLength: this.#bytesMax });
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
        ? failure(status.RESOURCE_EXHAUSTED, `the request unpacks to more than ${this.#bytesMax} bytes`)
        : failure(status.INVALID_ARGUMENT, 'the request cannot be unpacked');
    } finally {
      this.#gate.leave(message.caller);
    }
  }

  #hold(message: PackedMessage): void {
    const { caller, heldBytes } = message;
    if (!this.#hasRoom(message)) {
      const isFloor = this.#share.isBelowFloor(this.#byCaller.get(caller) ?? 0, heldBytes);
      const isEnded = this.#holders.endLaggard(isFloor, message);
      if (!isEnded || !this.#hasRoom(message))
        throw failure(status.RESOURCE_EXHAUSTED, this.#packed.refusal(heldBytes).message);
    }
    this.#packed.take(heldBytes);
    this.#byCaller.set(caller, (this.#byCaller.get(caller) ?? 0) + heldBytes);
    message.heldSinceMs = this.#clock.nowMs();
    this.#holders.add(message);
  }

  #hasRoom({ caller, heldBytes }: PackedMessage): boolean {
    return this.#share.allows(this.#byCaller.get(caller) ?? 0, heldBytes, this.#packed.used);
  }

  /** For `PackedMessage` and this class: what it held is free. */
  release(message: PackedMessage): void {
    const { caller, heldBytes } = message;
    if (message.isReleased) return;
    message.isReleased = true;
    this.#holders.remove(message);
    this.#packed.give(heldBytes);
    const left = (this.#byCaller.get(caller) ?? 0) - heldBytes;
    if (left > 0) this.#byCaller.set(caller, left);
    else this.#byCaller.delete(caller);
  }
}

/** An error, so that it can be thrown, in the shape of a status. */
function failure(code: status, details: string): Error & UnpackFailure {
  return Object.assign(new Error(details), { code, details });
}
