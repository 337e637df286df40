import { assert } from '@cairn/base';

const NOBODY = -1;
/** Tables have at most 2^24 blocks: 4 GiB of blocks of 256 bytes. */
const BLOCKS_PER_TABLE = 2 ** 24;

/**
 * Blocks of table files, in slots of one size in one piece of memory, so that a million reads make no
 * garbage. Bounded by that memory and one slot. A block that is larger than a slot is not kept. Which one
 * goes is decided by a clock: the hand passes over blocks that were used since it last came by.
 *
 * One slot more than those is always free, for a block to be read into before it is known whether it can be
 * kept: a compressed one may be larger than a slot when it is whole. So a block goes for one that stays only.
 */
export class BlockCache {
  readonly slotBytes: number;
  /** All slots, the free one included. */
  readonly bytes: Uint8Array;
  readonly #slots: number;
  #freeSlot: number;
  /** The block in each slot; -1 = none. */
  readonly #names: Float64Array;
  readonly #lengths: Uint32Array;
  readonly #wasUsed: Uint8Array;
  /** Slots by block, open addressing; -1 = nobody. */
  readonly #table: Int32Array;
  readonly #mask: number;
  #hand = 0;
  #used = 0;
  #hits = 0;
  #misses = 0;

  /** `bytesMax` below `slotBytes`: nothing is kept. */
  constructor(bytesMax: number, slotBytes: number) {
    this.slotBytes = slotBytes;
    const kept = Math.floor(bytesMax / slotBytes);
    this.#slots = kept === 0 ? 0 : kept + 1;
    this.#freeSlot = kept;
    this.bytes = Buffer.allocUnsafeSlow(this.#slots * slotBytes);
    this.#names = new Float64Array(this.#slots).fill(NOBODY);
    this.#lengths = new Uint32Array(this.#slots);
    this.#wasUsed = new Uint8Array(this.#slots);
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(4, this.#slots * 2)));
    this.#table = new Int32Array(capacity).fill(NOBODY);
    this.#mask = capacity - 1;
  }

  get hits(): number {
    return this.#hits;
  }

  get misses(): number {
    return this.#misses;
  }

  /** Bytes of slots that hold a block. */
  get usedBytes(): number {
    return this.#used * this.slotBytes;
  }

  /** The slot of a block; -1 when it is not here. What it holds is there until the next `keep`. */
  find(table: number, block: number): number {
    const name = nameOf(table, block);
    for (let at = this.#home(name); ; at = (at + 1) & this.#mask) {
      const slot = this.#table[at] as number;
      if (slot === NOBODY) break;
      if (this.#names[slot] !== name) continue;
      this.#wasUsed[slot] = 1;
      this.#hits += 1;
      return slot;
    }
    this.#misses += 1;
    return NOBODY;
  }

  /** Where the slot begins in `bytes`. */
  startOf(slot: number): number {
    return slot * this.slotBytes;
  }

  /** Where the block in the slot ends in `bytes`. */
  endOf(slot: number): number {
    return slot * this.slotBytes + (this.#lengths[slot] as number);
  }

  /** Whether a block of so many bytes can be kept. */
  fits(length: number): boolean {
    return length <= this.slotBytes && this.#slots > 0;
  }

  /** Where the free slot begins in `bytes`: there a block is put that fits, before it is kept. */
  get freeAt(): number {
    return this.#freeSlot * this.slotBytes;
  }

  /**
   * The free slot holds this block from now on, `length` bytes; another one becomes free, and what it held
   * goes. The block must fit, and not be here.
   */
  keep(table: number, block: number, length: number): void {
    assert(this.fits(length), 'a block that is kept fits into a slot', { length });
    const slot = this.#freeSlot;
    this.#freeSlot = this.#giveUpSlot();
    const name = nameOf(table, block);
    this.#names[slot] = name;
    this.#lengths[slot] = length;
    this.#wasUsed[slot] = 1;
    this.#used += 1;
    let at = this.#home(name);
    while (this.#table[at] !== NOBODY) at = (at + 1) & this.#mask;
    this.#table[at] = slot;
  }

  /** A slot that was not free, without its block. */
  #giveUpSlot(): number {
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 === this.#slots ? 0 : slot + 1;
      if (slot === this.#freeSlot) continue;
      if (this.#wasUsed[slot] === 1) {
        this.#wasUsed[slot] = 0;
        continue;
      }
      this.#forget(slot);
      return slot;
    }
  }

  #forget(slot: number): void {
    const name = this.#names[slot] as number;
    if (name === NOBODY) return;
    this.#names[slot] = NOBODY;
    this.#used -= 1;
    let hole = this.#home(name);
    while (this.#table[hole] !== slot) hole = (hole + 1) & this.#mask;
    // Those behind move up, so that no search ends at the hole.
    for (let at = (hole + 1) & this.#mask; this.#table[at] !== NOBODY; at = (at + 1) & this.#mask) {
      const moved = this.#table[at] as number;
      const home = this.#home(this.#names[moved] as number);
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      this.#table[hole] = moved;
      hole = at;
    }
    this.#table[hole] = NOBODY;
  }

  #home(name: number): number {
    const high = Math.floor(name / BLOCKS_PER_TABLE);
    const mixed = Math.imul(name | 0, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & this.#mask;
  }
}

function nameOf(table: number, block: number): number {
  return table * BLOCKS_PER_TABLE + block;
}
