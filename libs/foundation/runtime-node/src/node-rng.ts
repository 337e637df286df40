import { randomBytes } from 'node:crypto';

import { assert } from '@cairn/base';
import type { Rng } from '@cairn/ports';

const POOL_BYTES = 4096;

/** Cryptographic chance from the operating system, drawn in blocks. */
export class NodeRng implements Rng {
  #pool: Buffer = Buffer.alloc(0);
  #used = 0;

  next(): number {
    // 53 bits: the mantissa of a double, so every value below 1 is equally fine-grained.
    const high = this.#word() >>> 5;
    const low = this.#word() >>> 6;
    return (high * 67_108_864 + low) / 9_007_199_254_740_992;
  }

  integer(bound: number): number {
    assert(Number.isSafeInteger(bound) && bound > 0, 'bound must be a positive integer', { bound });
    return Math.floor(this.next() * bound);
  }

  bytes(length: number): Uint8Array {
    return randomBytes(length);
  }

  #word(): number {
    if (this.#used + 4 > this.#pool.length) {
      this.#pool = randomBytes(POOL_BYTES);
      this.#used = 0;
    }
    const word = this.#pool.readUInt32LE(this.#used);
    this.#used += 4;
    return word;
  }
}
