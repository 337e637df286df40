import { FairShare, Holders, type Holder } from '@cairn/base';

/**
 * The changes that all watches have and that their callers have not taken. Callers have the shares of
 * `FairShare`; where there is no room, watches end of the caller that has let most stand for longest.
 */
export class BacklogRoom {
  readonly #share: FairShare;
  readonly #holders: Holders;
  readonly #byCaller = new Map<unknown, number>();
  #used = 0;

  constructor(bytesMax: number, nowMs: () => number) {
    this.#share = new FairShare(bytesMax);
    this.#holders = new Holders(nowMs);
  }

  get used(): number {
    return this.#used;
  }

  /** Answers false when there is no room; then nothing has changed for the holder. */
  tryTake(holder: Holder, bytes: number): boolean {
    if (!this.#hasRoom(holder, bytes)) {
      const isBelowFloor = this.#share.isBelowFloor(this.#heldBy(holder), bytes);
      if (!this.#holders.endLaggard(isBelowFloor, holder) || !this.#hasRoom(holder, bytes)) return false;
    }
    if (holder.heldBytes === 0) this.#holders.add(holder);
    this.#add(holder, bytes);
    return true;
  }

  give(holder: Holder, bytes: number): void {
    if (bytes === 0) return;
    this.#add(holder, -bytes);
    if (holder.heldBytes === 0) this.#holders.remove(holder);
  }

  #heldBy({ caller }: Holder): number {
    return this.#byCaller.get(caller) ?? 0;
  }

  #hasRoom(holder: Holder, bytes: number): boolean {
    return this.#share.allows(this.#heldBy(holder), bytes, this.#used);
  }

  #add(holder: Holder, bytes: number): void {
    holder.heldBytes += bytes;
    this.#used += bytes;
    const own = this.#heldBy(holder) + bytes;
    if (own > 0) this.#byCaller.set(holder.caller, own);
    else this.#byCaller.delete(holder.caller);
  }
}
