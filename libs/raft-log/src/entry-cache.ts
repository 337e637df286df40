import type { RangeState } from './range-state.js';

/**
 * One visit of the hand takes about this much from a range, so that one busy range does not lose everything.
 */
const BYTES_PER_VISIT = 256 * 1024;

/**
 * Keeps the entries in memory, all ranges together, within a budget. A hand goes around the ranges that have
 * any (the clock algorithm: Corbato, "A paging experiment with the Multics system", 1968) and takes the
 * oldest entries; a range that was just read back is passed over once. What is not durable stays, whatever
 * the budget.
 */
export class EntryCache {
  readonly #bytesMax: number;
  readonly #ranges = new Set<RangeState>();
  #hand: SetIterator<RangeState> | undefined;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A range's share changed from `bytesBefore` to what it is now. */
  account(range: RangeState, bytesBefore: number): void {
    const now = range.window.cachedBytes;
    this.#bytes += now - bytesBefore;
    if (now > 0 && bytesBefore === 0) this.#ranges.add(range);
    else if (now === 0 && bytesBefore > 0) this.#ranges.delete(range);
  }

  /** Takes entries out of memory until the budget holds `roomBytes` more, as far as they are durable. */
  shrink(durablePosition: number, roomBytes: number): void {
    const target = Math.max(0, this.#bytesMax - roomBytes);
    // Twice around: the first time may only clear the marks of ranges that were read back.
    let visits = this.#ranges.size * 2;
    while (this.#bytes > target && visits > 0) {
      visits -= 1;
      const range = this.#nextRange();
      if (range === undefined) return;
      if (range.wasLoaded) range.wasLoaded = false;
      else this.#evictFrom(range, durablePosition, this.#bytes - target);
    }
  }

  #nextRange(): RangeState | undefined {
    this.#hand ??= this.#ranges.values();
    let next = this.#hand.next();
    if (next.done === true) {
      this.#hand = this.#ranges.values();
      next = this.#hand.next();
    }
    return next.done === true ? undefined : next.value;
  }

  #evictFrom(range: RangeState, durablePosition: number, wantedBytes: number): void {
    const { window } = range;
    const before = window.cachedBytes;
    const bytesMax = Math.min(wantedBytes, BYTES_PER_VISIT);
    let index = Math.max(range.evictFrom, window.first);
    let freed = 0;
    while (index < window.end && freed < bytesMax && window.positionAt(index) < durablePosition) {
      freed += window.evict(index);
      index += 1;
    }
    range.evictFrom = index;
    this.account(range, before);
  }
}
