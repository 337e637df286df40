import type { Entry } from '@cairn/raft';

/** Loads that fit beside each other: so many come after one before it makes room. */
const LOADS_MIN = 4;

/**
 * Entries that were read back from disk, by their position in the log, oldest out first. What one load
 * brought stays whole while the next few are made, so that whoever asked for it can use it.
 */
export class LoadedEntries {
  readonly #bytesMax: number;
  readonly #entries = new Map<number, Entry>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Payload bytes that one load may bring, unless a single entry has more. */
  get loadBytesMax(): number {
    return this.#bytesMax / LOADS_MIN;
  }

  get(position: number): Entry | undefined {
    return this.#entries.get(position);
  }

  keep(position: number, entry: Entry): void {
    if (this.#entries.has(position)) return;
    this.#entries.set(position, entry);
    this.#bytes += entry.payload.length + 1;
  }

  /** Before a load: makes room for `bytes`. */
  makeRoom(bytes: number): void {
    const target = Math.max(0, this.#bytesMax - bytes);
    for (const [position, entry] of this.#entries) {
      if (this.#bytes <= target) return;
      this.#entries.delete(position);
      this.#bytes -= entry.payload.length + 1;
    }
  }
}
