import { assert } from '@cairn/base';
import type { SimRng } from './sim-rng.js';

/** What one unsynced operation did to a file. */
export type FileChange =
  | { readonly type: 'write'; readonly position: number; readonly bytes: Uint8Array }
  | { readonly type: 'truncate'; readonly size: number };

/** How a disk breaks a write that is interrupted. */
export interface Tearing {
  readonly rng: SimRng;
  readonly sectorBytes: number;
  /** The disk also breaks it at a byte within a sector. */
  readonly cutsAtBytes: boolean;
}

/** Draws after which a file counts as having no byte worth flipping. */
const ROT_TRIES = 200;

export interface FileSpan {
  readonly position: number;
  readonly length: number;
}

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

  /** Copies into `target` what there is, and answers how much that was. */
  readInto(target: Uint8Array, at: number, { position, length }: FileSpan): number {
    const end = Math.min(this.size, position + length);
    if (position >= end) return 0;
    this.#buffer.copy(target, at, position, end);
    return end - position;
  }

  flip(position: number, bit: number): void {
    assert(position < this.size, 'no such byte', { position, size: this.size });
    this.#buffer[position] = (this.#buffer[position] as number) ^ (1 << bit);
  }
}

/** A change that no sync covered. */
interface Unsynced {
  readonly change: FileChange;
  /** The disk failed to take it: readers see it until the power goes, and no later sync makes it durable. */
  isLost: boolean;
}

/**
 * The content of one file: what is durable, and what readers see. Changes that no sync covered wait in a
 * list, so that a crash can lose or tear each of them.
 */
export class SimFileContent {
  #durable = new ByteImage();
  /** What readers see; the same object as `#durable` while nothing is unsynced. */
  #visible = this.#durable;
  #unsynced: Unsynced[] = [];
  /** Changes handed to the disk whose completion has not been reported. */
  readonly #inFlight = new Set<FileChange>();
  #completed = 0;
  #lastChange: FileChange | undefined;
  /** Bytes that rotted and were not written since. */
  #rotten: number[] = [];

  get size(): number {
    return this.#visible.size;
  }

  /** Counts the changes that ever took effect: what a sync that starts now will cover. */
  get completedChanges(): number {
    return this.#completed;
  }

  get isRotten(): boolean {
    return this.#rotten.length > 0;
  }

  read(position: number, length: number): Buffer {
    return this.#visible.read(position, length);
  }

  readInto(target: Uint8Array, at: number, span: FileSpan): number {
    return this.#visible.readInto(target, at, span);
  }

  begin(change: FileChange): void {
    this.#inFlight.add(change);
  }

  /** The disk took the change; with `durable` it needs no sync. */
  complete(change: FileChange, durable: boolean): void {
    this.#inFlight.delete(change);
    this.#completed += 1;
    this.#lastChange = change;
    if (this.#rotten.length > 0) this.#rotten = this.#rotten.filter((at) => !touches(change, at));
    if (durable && this.#unsynced.length === 0) {
      this.#durable.apply(change);
      return;
    }
    this.#show(change);
    this.#unsynced.push({ change, isLost: false });
    // A durable write makes everything before it durable too: the strongest order that fdatasync gives.
    if (durable) this.makeDurableUpTo(this.#completed);
  }

  #show(change: FileChange): void {
    if (this.#visible === this.#durable) this.#visible = this.#durable.copy();
    this.#visible.apply(change);
  }

  /** The change was refused before anything of it was written. */
  forget(change: FileChange): void {
    this.#inFlight.delete(change);
  }

  /** The change was interrupted: any of its sectors may have arrived, and nobody knows which. */
  interrupt(change: FileChange, tearing: Tearing): void {
    this.#inFlight.delete(change);
    for (const piece of tear(change, tearing)) this.complete(piece, false);
  }

  /**
   * A durable write failed. Half of the time readers see what did arrive; else they see all of it, out of a
   * cache that takes it for written: no sync brings it to the disk any more, and the power takes it away.
   */
  failDurably(change: FileChange, tearing: Tearing): void {
    if (tearing.rng.chance(0.5)) {
      this.interrupt(change, tearing);
      return;
    }
    this.complete(change, false);
    this.failSync(this.#completed, tearing);
  }

  #takeCovered(covered: number): Unsynced[] {
    const uncovered = this.#completed - covered;
    return this.#unsynced.splice(0, Math.max(0, this.#unsynced.length - uncovered));
  }

  /** Makes durable what had taken effect when `completedChanges` was `covered`. */
  makeDurableUpTo(covered: number): void {
    const lost: Unsynced[] = [];
    for (const one of this.#takeCovered(covered)) {
      if (one.isLost) lost.push(one);
      else this.#durable.apply(one.change);
    }
    this.#unsynced.unshift(...lost);
    if (this.#unsynced.length === 0) this.#visible = this.#durable;
  }

  /** A sync failed: of what it should have covered only some arrived, and a later one does not bring more. */
  failSync(covered: number, tearing: Tearing): void {
    const failed = this.#takeCovered(covered);
    for (const one of failed) {
      if (one.isLost) continue;
      one.isLost = true;
      for (const piece of tear(one.change, tearing)) this.#durable.apply(piece);
    }
    this.#unsynced.unshift(...failed);
  }

  /** Power loss: each change that no sync covered is kept, lost or torn, independently of the others. */
  crash(tearing: Tearing): void {
    const fateful = this.#unsynced.filter(({ isLost }) => !isLost).map(({ change }) => change);
    for (const change of [...fateful, ...this.#inFlight]) {
      for (const piece of tear(change, tearing)) this.#durable.apply(piece);
    }
    this.#unsynced = [];
    this.#inFlight.clear();
    this.#visible = this.#durable;
  }

  /**
   * The process died but the machine did not: what was written stays; what was in flight may be there in
   * part.
   */
  abandonInFlight(tearing: Tearing): void {
    for (const change of [...this.#inFlight]) this.interrupt(change, tearing);
  }

  flipBit(position: number, bit: number): void {
    this.#durable.flip(position, bit);
    if (this.#visible !== this.#durable) this.#visible.flip(position, bit);
    this.#rotten.push(position);
  }

  /**
   * A durable byte that is worth flipping: one among others that are not zero, and not of the newest change.
   * undefined when a few draws find none.
   */
  drawRot(rng: SimRng): number | undefined {
    if (this.#durable.size === 0) return undefined;
    for (let tries = 0; tries < ROT_TRIES; tries += 1) {
      const at = rng.integer(Math.min(this.#durable.size, this.size));
      if (this.#lastChange !== undefined && touches(this.#lastChange, at)) continue;
      const around = this.read(Math.max(0, at - 8), 16);
      if (around.some((byte) => byte !== 0)) return at;
    }
    return undefined;
  }
}

function touches(change: FileChange, at: number): boolean {
  if (change.type === 'truncate') return at >= change.size;
  return at >= change.position && at < change.position + change.bytes.length;
}

/** What arrives of a change when it is interrupted: all, nothing, some of its sectors, or its first bytes. */
function tear(change: FileChange, { rng, sectorBytes, cutsAtBytes }: Tearing): FileChange[] {
  const fate = rng.integer(cutsAtBytes ? 4 : 3);
  if (fate === 0) return [];
  if (fate === 1 || change.type === 'truncate') return [change];
  const { position, bytes } = change;
  if (fate === 3)
    return [{ type: 'write', position, bytes: bytes.subarray(0, rng.integer(bytes.length + 1)) }];
  const pieces: FileChange[] = [];
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
