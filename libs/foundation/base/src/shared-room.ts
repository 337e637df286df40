import { BoundedBytes } from './bounded-bytes.js';
import type { CairnError } from './errors.js';
import { FairShare } from './fair-share.js';
import { Holders, type Holder } from './holders.js';

export interface SharedRoomOptions {
  /** What is bounded, for messages: "packed requests". */
  readonly name: string;
  /** Bytes that all holders together may have. */
  readonly limit: number;
  /**
   * A holder that comes while its caller has no more than this, itself included, is never ended. Default 0.
   */
  readonly sparedBytes?: number;
}

/**
 * One bound that callers from outside share, and the account of it: what each holder and each caller has.
 * Callers have the shares of `FairShare`; when there is no room for somebody, the holders end of the caller
 * that has held most for longest, as `Holders` says. A caller is whatever its holders name as theirs.
 *
 * Bounded by its limit: there is one entry for each caller that has something.
 */
export class SharedRoom {
  readonly #budget: BoundedBytes;
  readonly #share: FairShare;
  readonly #holders: Holders;
  readonly #byCaller = new Map<unknown, number>();
  readonly #sparedBytes: number;

  constructor({ name, limit, sparedBytes = 0 }: SharedRoomOptions, nowMs: () => number) {
    this.#budget = new BoundedBytes({ name, limit });
    this.#share = new FairShare(limit);
    this.#holders = new Holders(nowMs);
    this.#sparedBytes = sparedBytes;
  }

  /** Bytes held now. */
  get used(): number {
    return this.#budget.used;
  }

  /** Holders that have something now. */
  get count(): number {
    return this.#budget.count;
  }

  /** How many were ended since the start, for metrics. */
  get ended(): number {
    return this.#holders.ended;
  }

  /**
   * Gives the holder so many bytes more; others that lag may end for it. Answers false when there is no room
   * all the same: then nothing has changed for the holder. `bytes` is above 0.
   */
  tryTake(holder: Holder, bytes: number): boolean {
    const { caller, heldBytes } = holder;
    if (!this.#hasRoom(caller, bytes)) {
      const isEnded = this.#holders.endLaggard(this.#share.isBelowFloor(this.#heldBy(caller), bytes), holder);
      if (!isEnded || !this.#hasRoom(caller, bytes)) return false;
    }
    const own = this.#heldBy(caller) + bytes;
    this.#byCaller.set(caller, own);
    holder.heldBytes = heldBytes + bytes;
    if (heldBytes > 0) {
      this.#budget.resize(heldBytes, heldBytes + bytes);
      return true;
    }
    this.#budget.take(bytes);
    holder.heldSinceMs = this.#holders.nowMs();
    if (own > this.#sparedBytes) this.#holders.add(holder);
    return true;
  }

  /** What it holds comes back by itself soon: it is not ended for others any more. */
  spare(holder: Holder): void {
    this.#holders.remove(holder);
  }

  /** The holder has nothing any more; nothing happens when it had nothing. */
  release(holder: Holder): void {
    const { caller, heldBytes } = holder;
    if (heldBytes === 0) return;
    holder.heldBytes = 0;
    this.#budget.give(heldBytes);
    this.#holders.remove(holder);
    const left = this.#heldBy(caller) - heldBytes;
    if (left > 0) this.#byCaller.set(caller, left);
    else this.#byCaller.delete(caller);
  }

  /** The refusal of so many bytes. */
  refusal(bytes: number): CairnError {
    return this.#budget.refusal(bytes);
  }

  #heldBy(caller: unknown): number {
    return this.#byCaller.get(caller) ?? 0;
  }

  #hasRoom(caller: unknown, bytes: number): boolean {
    return this.#share.allows(this.#heldBy(caller), bytes, this.#budget.used);
  }
}
