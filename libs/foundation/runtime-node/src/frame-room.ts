import { BoundedBytes, FairShare, Holders, type Holder } from '@cairn/base';

/**
 * What the connections of a process hold of frames that have not arrived whole. They have the shares of
 * `FairShare`; when there is no room, the connection ends that has held most for longest.
 */
export class FrameRoom {
  readonly #budget: BoundedBytes;
  readonly #share: FairShare;
  readonly #holders: Holders;

  constructor(limit: number, nowMs: () => number = () => performance.now()) {
    this.#budget = new BoundedBytes({ name: 'frames that have not arrived whole', limit });
    this.#share = new FairShare(limit);
    this.#holders = new Holders(nowMs);
  }

  get used(): number {
    return this.#budget.used;
  }

  /** Room for the frame of a connection, which is to have so many bytes. Throws RESOURCE_EXHAUSTED. */
  take(holder: Holder, bytes: number): void {
    const { heldBytes } = holder;
    const more = bytes - heldBytes;
    if (!this.#share.allows(heldBytes, more, this.used)) {
      const isFloor = this.#share.isBelowFloor(heldBytes, more);
      const isEnded = this.#holders.endLaggard(isFloor, holder);
      if (!isEnded || !this.#share.allows(heldBytes, more, this.used)) throw this.#budget.refusal(more);
    }
    if (heldBytes > 0) this.#budget.resize(heldBytes, bytes);
    else {
      this.#budget.take(bytes);
      holder.heldSinceMs = this.#holders.nowMs();
      this.#holders.add(holder);
    }
    holder.heldBytes = bytes;
  }

  /** The frame is whole, or given up. */
  give(holder: Holder): void {
    if (holder.heldBytes === 0) return;
    this.#budget.give(holder.heldBytes);
    this.#holders.remove(holder);
    holder.heldBytes = 0;
  }
}
