import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';

import { Holder, rethrowInvariant, SharedRoom } from '@cairn/base';
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
  readonly #room: SharedRoom;
  readonly #over = new AbortController();
  isCut = false;

  constructor(room: SharedRoom, caller: string) {
    super();
    this.#room = room;
    this.caller = caller;
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
  readonly #gate = new FairGate<string>(AT_A_TIME, PER_CALLER);
  readonly #room: SharedRoom;

  /** `packedBytesMax`: for tests. */
  constructor(
    bytesMax: number,
    context: { readonly clock: Pick<Clock, 'nowMs'>; readonly metrics: Metrics },
    packedBytesMax = PACKED_BYTES_MAX,
  ) {
    this.#bytesMax = bytesMax;
    const bounds = { name: 'packed requests', limit: packedBytesMax };
    this.#room = new SharedRoom(bounds, () => context.clock.nowMs());
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
      bytes.set(this.#room.used);
    });
  }

  /** Rejects with an `UnpackFailure`, and with nothing else: the library sends what it is given. */
  async unpack(peer: string, bytes: Buffer, encoding: string, signal: AbortSignal): Promise<Buffer> {
    if (encoding !== 'gzip' && encoding !== 'deflate')
      throw failure(status.UNIMPLEMENTED, 'the request is packed in a way that is not known here');
    const message = new PackedMessage(this.#room, peer);
    if (bytes.length > 0 && !this.#room.tryTake(message, bytes.length))
      throw failure(status.RESOURCE_EXHAUSTED, this.#room.refusal(bytes.length).message);
    signal.addEventListener('abort', message.giveUp, { once: true });
    if (signal.aborted) message.giveUp();
    try {
      return await this.#inTurn(message, bytes, encoding);
    } finally {
      signal.removeEventListener('abort', message.giveUp);
      this.#room.release(message);
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
    this.#room.spare(message);
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
}

/** An error, so that it can be thrown, in the shape of a status. */
function failure(code: status, details: string): Error & UnpackFailure {
  return Object.assign(new Error(details), { code, details });
}
