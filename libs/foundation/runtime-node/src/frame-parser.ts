import { CairnError, Holder } from '@cairn/base';
import { FRAME_BYTES_MAX } from '@cairn/ports';

import type { FrameRoom } from './frame-room.js';

/** Every frame is preceded by its length: u32, little endian. */
export const LENGTH_BYTES = 4;
/**
 * First allocation for a frame that is split over chunks: an announced length alone must not cost its memory.
 */
const ASSEMBLY_BYTES_FIRST = 1024 * 1024;

/**
 * Cuts a byte stream into frames. A frame that lies in one chunk is handed out as a view of it; one that is
 * split is assembled by copying every byte once (and again at each doubling, so the cost stays linear).
 */
export class FrameParser extends Holder {
  /** A connection has one frame at a time, and one parser. */
  readonly caller = this;
  readonly #onFrame: (frame: Buffer) => void;
  readonly #onCut: (error: CairnError) => void;
  readonly #room: FrameRoom;
  #bytesMax = FRAME_BYTES_MAX;
  readonly #length = Buffer.alloc(LENGTH_BYTES);
  #lengthFilled = 0;
  #assembly: Buffer | undefined;
  #frameBytes = 0;
  #filled = 0;
  #isStopped = false;
  /** Of the current call of `push`. */
  #framesLeft = 0;

  /**
   * `room`: what all parsers of the process may hold of frames that have not arrived whole. `onCut`: others
   * needed it, and the stream cannot go on.
   */
  constructor(onFrame: (frame: Buffer) => void, onCut: (error: CairnError) => void, room: FrameRoom) {
    super();
    this.#onFrame = onFrame;
    this.#onCut = onCut;
    this.#room = room;
  }

  limitFrames(bytesMax: number): void {
    this.#bytesMax = bytesMax;
  }

  /** Nothing is handed out any more. */
  stop(): void {
    this.#isStopped = true;
    this.#giveUpAssembly();
  }

  cutOff(): void {
    const { heldBytes } = this;
    this.stop();
    this.#onCut(
      new CairnError(
        'RESOURCE_EXHAUSTED',
        `a frame of ${this.#frameBytes} bytes did not come whole, and others need its ${heldBytes} bytes`,
      ),
    );
  }

  #giveUpAssembly(): void {
    this.#room.give(this);
    this.#assembly = undefined;
  }

  #allocate(bytes: number): Buffer {
    this.#room.take(this, bytes);
    return Buffer.allocUnsafe(bytes);
  }

  /**
   * Hands out at most `framesMax` frames of the chunk from `from` on, and answers where it stopped: at the
   * end of the chunk, or before the next frame.
   *
   * Throws CORRUPTION for an announced length above the limit, RESOURCE_EXHAUSTED when there is no room for a
   * split frame: the stream cannot go on.
   */
  push(chunk: Buffer, from = 0, framesMax = Infinity): number {
    let at = from;
    this.#framesLeft = framesMax;
    while (at < chunk.length && this.#framesLeft > 0 && !this.#isStopped) {
      if (this.#assembly !== undefined) {
        at = this.#assemble(chunk, at);
        continue;
      }
      if (this.#lengthFilled === 0 && chunk.length - at >= LENGTH_BYTES) {
        this.#frameBytes = chunk.readUInt32LE(at);
        at += LENGTH_BYTES;
      } else {
        this.#length[this.#lengthFilled++] = chunk[at++] as number;
        if (this.#lengthFilled < LENGTH_BYTES) continue;
        this.#lengthFilled = 0;
        this.#frameBytes = this.#length.readUInt32LE(0);
      }
      if (this.#frameBytes > this.#bytesMax) {
        throw new CairnError(
          'CORRUPTION',
          `announced a frame of ${this.#frameBytes} bytes, of at most ${this.#bytesMax}: garbled or not ours`,
        );
      }
      if (chunk.length - at >= this.#frameBytes) {
        const start = at;
        at += this.#frameBytes;
        this.#framesLeft -= 1;
        this.#onFrame(chunk.subarray(start, at));
      } else {
        this.#filled = 0;
        this.#assembly = this.#allocate(Math.min(this.#frameBytes, ASSEMBLY_BYTES_FIRST));
      }
    }
    return at;
  }

  #assemble(chunk: Buffer, at: number): number {
    let target = this.#assembly as Buffer;
    const count = Math.min(this.#frameBytes - this.#filled, chunk.length - at);
    if (this.#filled + count > target.length) {
      const grown = this.#allocate(
        Math.min(this.#frameBytes, Math.max(this.#filled + count, target.length * 2)),
      );
      target.copy(grown, 0, 0, this.#filled);
      target = grown;
      this.#assembly = grown;
    }
    chunk.copy(target, this.#filled, at, at + count);
    this.#filled += count;
    if (this.#filled === this.#frameBytes) {
      this.#giveUpAssembly();
      this.#framesLeft -= 1;
      this.#onFrame(target);
    }
    return at + count;
  }
}
