import { assert } from '@cairn/base';

/** Records are gathered in slabs of this size; a record that is larger gets a slab of its own. */
const SLAB_BYTES = 256 * 1024;
/** Slabs kept for reuse: 2 MiB. */
const FREE_SLABS_MAX = 8;
/** Dead pieces at the front before it is worth moving the rest. */
const COMPACT_AT = 64;

interface Slab {
  readonly bytes: Buffer;
  /** Pieces in it that can still be asked for, or are still being written to disk. */
  pieces: number;
}

/** Consecutive records of the log in one slab. */
interface Piece {
  /** In the log, of the first record. */
  position: number;
  readonly slab: Slab;
  readonly offset: number;
  bytes: number;
}

export interface MemoryPlace {
  readonly buffer: Buffer;
  readonly offset: number;
}

/**
 * The newest records of the log in memory, as the very bytes that are written to disk: staging copies every
 * record once, to here, and whoever needs an entry soon after reads it back from here. Slabs are used again
 * and again, so keeping entries costs the garbage collector nothing, whatever their number (entries kept as
 * objects survived every young collection: half of the JavaScript time of a follower).
 */
export class LogMemory {
  readonly #bytesMax: number;
  readonly #free: Slab[] = [];
  #slab: Slab | undefined;
  #slabAt = 0;
  /** In log order; those before `#head` are gone. */
  #pieces: Piece[] = [];
  #head = 0;
  /** The piece that records are being added to. */
  #open: Piece | undefined;
  #bytes = 0;

  /** `bytesMax` bounds what is kept beyond what is not durable. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Record bytes that can be read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Answers memory for the next `bytes`, right behind what was reserved before where that is possible. */
  reserve(bytes: number): MemoryPlace {
    if (this.#slab === undefined || this.#slabAt + bytes > this.#slab.bytes.length) this.#nextSlab(bytes);
    const offset = this.#slabAt;
    this.#slabAt += bytes;
    return { buffer: (this.#slab as Slab).bytes, offset };
  }

  /** The last `bytes` reserved are not needed yet; what comes next is sure to fit here. */
  giveBack(bytes: number): void {
    this.#slabAt -= bytes;
  }

  /** The last `bytes` reserved hold the record at `position`. */
  hold(position: number, bytes: number): void {
    const slab = this.#slab as Slab;
    const open = this.#open;
    if (open !== undefined && open.slab === slab && open.position + open.bytes === position) {
      open.bytes += bytes;
    } else {
      slab.pieces += 1;
      this.#open = { position, slab, offset: this.#slabAt - bytes, bytes };
      this.#pieces.push(this.#open);
    }
    this.#bytes += bytes;
  }

  /** The block is sealed: the next record begins a new piece. */
  endPiece(): void {
    this.#open = undefined;
  }

  /** A copy of the record at `position`; undefined when it is not in memory. */
  read(position: number, bytes: number): Buffer | undefined {
    const piece = this.#find(position);
    if (piece === undefined) return undefined;
    const skipped = position - piece.position;
    if (skipped >= piece.bytes) return undefined;
    assert(skipped + bytes <= piece.bytes, 'a record is in one piece', { position, bytes });
    const start = piece.offset + skipped;
    return Buffer.from(piece.slab.bytes.subarray(start, start + bytes));
  }

  has(position: number): boolean {
    const piece = this.#find(position);
    return piece !== undefined && position - piece.position < piece.bytes;
  }

  /** The last piece that begins at or before the position. */
  #find(position: number): Piece | undefined {
    const pieces = this.#pieces;
    let low = this.#head;
    let high = pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((pieces[middle] as Piece).position <= position) low = middle + 1;
      else high = middle;
    }
    return low > this.#head ? pieces[low - 1] : undefined;
  }

  /** Positions count from another base now. */
  shift(fall: number): void {
    for (let at = this.#head; at < this.#pieces.length; at += 1) (this.#pieces[at] as Piece).position -= fall;
  }

  /** Lets go of the oldest records until the bound holds, as far as they are durable. */
  trim(durablePosition: number): void {
    while (this.#bytes > this.#bytesMax && this.#head < this.#pieces.length) {
      const piece = this.#pieces[this.#head] as Piece;
      if (piece === this.#open || piece.position + piece.bytes > durablePosition) break;
      this.#head += 1;
      this.#bytes -= piece.bytes;
      piece.slab.pieces -= 1;
      this.#recycle(piece.slab);
    }
    if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#pieces.length) {
      this.#pieces.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #nextSlab(bytes: number): void {
    const full = this.#slab;
    const isLarge = bytes > SLAB_BYTES;
    const fresh = isLarge ? undefined : this.#free.pop();
    this.#slab = fresh ?? { bytes: Buffer.allocUnsafeSlow(isLarge ? bytes : SLAB_BYTES), pieces: 0 };
    this.#slabAt = 0;
    this.#open = undefined;
    if (full !== undefined) this.#recycle(full);
  }

  #recycle(slab: Slab): void {
    if (slab.pieces > 0 || slab === this.#slab || slab.bytes.length !== SLAB_BYTES) return;
    if (this.#free.length < FREE_SLABS_MAX) this.#free.push(slab);
  }
}
