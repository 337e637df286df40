import { assert } from '@cairn/base';

/** A ring, as those who share the bytes with it see it. */
export interface BudgetedRing {
  readonly bytes: number;
  trimTo(bytesMax: number): void;
}

export interface ChangeRingLimits {
  /** Bytes of one ring. */
  readonly changeRingBytesMax: number;
  /** Bytes of all rings of the store. */
  readonly changeRingsBytesMax: number;
}

/**
 * What the rings of one store hold together: each as much as it may, or, where there are many, an equal part
 * of what all may.
 */
export class ChangeRingBudget {
  readonly #limits: ChangeRingLimits;
  readonly #rings = new Set<BudgetedRing>();
  #bytes = 0;

  constructor(limits: ChangeRingLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#rings.size;
  }

  /** Estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  add(ring: BudgetedRing): void {
    this.#rings.add(ring);
  }

  /** What is in it was dropped before. */
  remove(ring: BudgetedRing): void {
    assert(ring.bytes === 0, 'a ring is emptied before it goes');
    this.#rings.delete(ring);
  }

  /** So many bytes came into the ring. */
  grown(ring: BudgetedRing, bytes: number): void {
    this.#bytes += bytes;
    const { changeRingBytesMax, changeRingsBytesMax } = this.#limits;
    const share = Math.min(changeRingBytesMax, changeRingsBytesMax / this.#rings.size);
    ring.trimTo(changeRingBytesMax);
    if (this.#bytes <= changeRingsBytesMax) return;
    // Those that grew while there were fewer: each has its part afterwards, so this is seldom done.
    for (const other of this.#rings) other.trimTo(share);
  }

  shrunk(bytes: number): void {
    this.#bytes -= bytes;
  }
}
