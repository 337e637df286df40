import { assert } from '@cairn/base';
import type { SimRng } from './sim-rng.js';

/** What one unsynced operation did to a file. */
export type FileChange =
  | { readonly type: 'write'; readonly position: number; readonly bytes: Uint8Array }
  | { readonly type: 'truncate'; readonly size: number };

/** Bytes that grow on demand; unwritten parts read as zero. */
class ByteImage {
  #buffer: Buffer = Buffer.alloc(0);
  size = 0;

  copy(): ByteImage {
    const copy = new ByteImage();
    copy.#buffer = Buffer.from(this.#buffer.subarray(0, this.size));
    copy.size = this.size;
    return copy;
  }

  #grow(size: number): void {
    if (size > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(size, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, this.size);
      this.#buffer = grown;
    }
    this.size = size;
  }

  apply(change: FileChange): void {
    if (change.type === 'write') {
      const end = change.position + change.bytes.length;
      if (end > this.size) this.#grow(end);
      this.#buffer.set(change.bytes, change.position);
    } else if (change.size >= this.size) {
      this.#grow(change.size);
    } else {
      this.#buffer.fill(0, change.size, this.size);
      this.size = change.size;
    }
  }

  read(position: number, length: number): Buffer {
    const end = Math.min(this.size, position + length);
    return position >= end ? Buffer.alloc(0) : Buffer.from(this.#buffer.subarray(position, end));
  }

  flip(position: number, bit: number): void {
    assert(position < this.size, 'no such byte', { position, size: this.size });
    this.#buffer[position] = (this.#buffer[position] as number) ^ (1 << bit);
  }
}

/**
 * The content of one file: what is durable, and what readers see. Changes that no sync covered wait in a
 * list, so that a crash can lose or tear each of them.
 */
export class SimFileContent {
  #durable = new ByteImage();
  /** What readers see; the same object as `#durable` while nothing is unsynced. */
  #visible = this.#durable;
  readonly #unsynced: FileChange[] = [];
  /** Changes handed to the disk whose completion has not been reported. */
  readonly #inFlight = new Set<FileChange>();
  #completed = 0;

  get size(): number {
    return this.#visible.size;
  }

  /** Counts the changes that ever took effect: what a sync that starts now will cover. */
  get completedChanges(): number {
    return this.#completed;
  }

  read(position: number, length: number): Buffer {
    return this.#visible.read(position, length);
  }

  begin(change: FileChange): void {
    this.#inFlight.add(change);
  }

  /** The change took effect; `durable` when it needs no sync. */
  complete(change: FileChange, durable: boolean): void {
    this.#inFlight.delete(change);
    this.#completed += 1;
    if (durable && this.#unsynced.length === 0) {
      this.#durable.apply(change);
      return;
    }
    if (this.#unsynced.length === 0) this.#visible = this.#durable.copy();
    this.#visible.apply(change);
    this.#unsynced.push(change);
    // A durable write makes everything before it durable too: the strongest order that fdatasync gives.
    if (durable) this.makeDurableUpTo(this.#completed);
  }

  /** The change was refused before anything of it was written. */
  forget(change: FileChange): void {
    this.#inFlight.delete(change);
  }

  /** The change failed: as on a real disk, any of its sectors may have arrived, and nobody knows which. */
  fail(change: FileChange, rng: SimRng, sectorBytes: number): void {
    this.#inFlight.delete(change);
    for (const piece of tear(change, rng, sectorBytes)) this.complete(piece, false);
  }

  /** Makes durable what had taken effect when `completedChanges` was `covered`. */
  makeDurableUpTo(covered: number): void {
    const uncovered = this.#completed - covered;
    const count = Math.max(0, this.#unsynced.length - uncovered);
    for (const change of this.#unsynced.splice(0, count)) this.#durable.apply(change);
    if (this.#unsynced.length === 0) this.#visible = this.#durable;
  }

  /** Power loss: each change that no sync covered is kept, lost or torn, independently of the others. */
  crash(rng: SimRng, sectorBytes: number): void {
    for (const change of [...this.#unsynced.splice(0), ...this.#inFlight]) {
      for (const piece of tear(change, rng, sectorBytes)) this.#durable.apply(piece);
    }
    this.#inFlight.clear();
    this.#visible = this.#durable;
  }

  /**
   * The process died but the machine did not: what was written stays; what was in flight may be there in
   * part.
   */
  abandonInFlight(rng: SimRng, sectorBytes: number): void {
    for (const change of [...this.#inFlight]) this.fail(change, rng, sectorBytes);
  }

  flipBit(position: number, bit: number): void {
    this.#durable.flip(position, bit);
    if (this.#visible !== this.#durable) this.#visible.flip(position, bit);
  }
}

/** What arrives of a change when it is interrupted: all, nothing, or some of its sectors. */
function tear(change: FileChange, rng: SimRng, sectorBytes: number): FileChange[] {
  const fate = rng.integer(3);
  if (fate === 0) return [];
  if (fate === 1 || change.type === 'truncate') return [change];
  const pieces: FileChange[] = [];
  const { position, bytes } = change;
  let at = 0;
  while (at < bytes.length) {
    const sectorEnd = (Math.floor((position + at) / sectorBytes) + 1) * sectorBytes;
    const end = Math.min(bytes.length, sectorEnd - position);
    if (rng.chance(0.5)) {
      pieces.push({ type: 'write', position: position + at, bytes: bytes.subarray(at, end) });
    }
    at = end;
  }
  return pieces;
}
