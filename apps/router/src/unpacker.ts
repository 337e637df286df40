import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';

import type { Metrics } from '@cairn/ports';
import { FairGate } from '@cairn/router-node';
import { status } from '@grpc/grpc-js';

/** Messages that are unpacked at a time, and of one connection: each may take all that a request may have. */
const AT_A_TIME = 4;
const PER_CALLER = 2;

const UNPACK = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const;

/** Why a message is not unpacked; grpc-js ends its call with it. */
export interface UnpackFailure {
  readonly code: status;
  readonly details: string;
}

/**
 * Unpacks requests, few at a time and connections by turns: a thousand calls of one connection that bring
 * some kilobytes each could unpack to gigabytes together.
 */
export class Unpacker {
  readonly #bytesMax: number;
  readonly #gate = new FairGate<string>(AT_A_TIME, PER_CALLER);

  constructor(bytesMax: number, metrics: Metrics) {
    this.#bytesMax = bytesMax;
    const waiting = metrics.gauge('cairn_router_packed_requests', 'Requests that wait to be unpacked');
    metrics.onCollect(() => {
      waiting.set(this.#gate.waiting);
    });
  }

  /** Rejects with an `UnpackFailure`. */
  async unpack(peer: string, bytes: Buffer, encoding: string, signal: AbortSignal): Promise<Buffer> {
    if (encoding !== 'gzip' && encoding !== 'deflate')
      throw failure(status.UNIMPLEMENTED, 'the request is packed in a way that is not known here');
    await this.#gate.enter(peer, signal);
    try {
      return await UNPACK[encoding](bytes, { maxOutputLength: this.#bytesMax });
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
        ? failure(status.RESOURCE_EXHAUSTED, `the request unpacks to more than ${this.#bytesMax} bytes`)
        : failure(status.INVALID_ARGUMENT, 'the request cannot be unpacked');
    } finally {
      this.#gate.leave(peer);
    }
  }
}

/** An error, so that it can be thrown, in the shape of a status. */
function failure(code: status, details: string): Error & UnpackFailure {
  return Object.assign(new Error(details), { code, details });
}
