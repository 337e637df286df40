import { FRAME_BYTES_MAX } from '@cairn/ports';

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
export class FrameParser {
  readonly #onFrame: (frame: Buffer) => void;
  readonly #length = Buffer.alloc(LENGTH_BYTES);
  #lengthFilled = 0;
  #assembly: Buffer | undefined;
  #frameBytes = 0;
  #filled = 0;
  #isStopped = false;

  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /** Nothing is handed out any more. */
  stop(): void {
    this.#isStopped = true;
    this.#assembly = undefined;
  }

  /**
   * Returns the announced length when it is above FRAME_BYTES_MAX: the stream is garbled and cannot go on.
   */
  push(chunk: Buffer): number | undefined {
    let at = 0;
    while (at < chunk.length && !this.#isStopped) {
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
      if (this.#frameBytes > FRAME_BYTES_MAX) return this.#frameBytes;
      if (chunk.length - at >= this.#frameBytes) {
        const start = at;
        at += this.#frameBytes;
        this.#onFrame(chunk.subarray(start, at));
      } else {
        this.#filled = 0;
        this.#assembly = Buffer.allocUnsafe(Math.min(this.#frameBytes, ASSEMBLY_BYTES_FIRST));
      }
    }
    return undefined;
  }

  #assemble(chunk: Buffer, at: number): number {
    let target = this.#assembly as Buffer;
    const count = Math.min(this.#frameBytes - this.#filled, chunk.length - at);
    if (this.#filled + count > target.length) {
      const grown = Buffer.allocUnsafe(
        Math.min(this.#frameBytes, Math.max(this.#filled + count, target.length * 2)),
      );
      target.copy(grown, 0, 0, this.#filled);
      target = grown;
      this.#assembly = grown;
    }
    chunk.copy(target, this.#filled, at, at + count);
    this.#filled += count;
    if (this.#filled === this.#frameBytes) {
      this.#assembly = undefined;
      this.#onFrame(target);
    }
    return at + count;
  }
}
