import { BoundedBytes } from '@cairn/base';
import type { Entry } from '@cairn/raft';

/** Loads that fit beside each other: so many come after one before it makes room. */
const LOADS_MIN = 4;

/** An entry that was read back. Whoever waits for it holds it until it was taken. */
export interface LoadedEntry {
  readonly entry: Entry;
  readonly bytes: number;
  /** Loads that brought or found it and whose callers have not taken it yet. */
  holders: number;
}

/**
 * Entries that were read back from disk, by their position in the log, oldest out first. What a load brought
 * stays until its caller has taken it; the next load waits for that when both together pass the bound. A load
 * that nothing else is held beside is always let in, however large its entries are.
 */
export class LoadedEntries {
  readonly #bytesMax: number;
  #entries = new Map<number, LoadedEntry>();
  /** What callers have not taken yet; bounded by the cache, or by one single load. */
  readonly #held: BoundedBytes;
  #bytes = 0;
  /** The load that waits for room; there is one, because loads follow one another. */
  #roomFreed: (() => void) | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#held = new BoundedBytes({ name: 'entries read back from the raft log', limit: bytesMax });
  }

  get bytes(): number {
    return this.#bytes;
  }
  get heldBytes(): number {
    return this.#held.used;
  }

  /** Payload bytes that one load may bring, unless a single entry has more. */
  get loadBytesMax(): number {
    return this.#bytesMax / LOADS_MIN;
  }

  get(position: number): Entry | undefined {
    return this.#entries.get(position)?.entry;
  }

  /** Holds the entry at the position when it is here. */
  hold(position: number): LoadedEntry | undefined {
    const loaded = this.#entries.get(position);
    if (loaded === undefined) return undefined;
    if (loaded.holders === 0) this.#held.take(loaded.bytes);
    loaded.holders += 1;
    return loaded;
  }

  /** Takes in what was read for somebody, and holds it. */
  keep(position: number, entry: Entry): LoadedEntry {
    const known = this.hold(position);
    if (known !== undefined) return known;
    const loaded = { entry, bytes: entry.payload.length + 1, holders: 1 };
    this.#entries.set(position, loaded);
    this.#bytes += loaded.bytes;
    this.#held.take(loaded.bytes);
    return loaded;
  }

  /** Its caller has taken it: it may go when there is need for room. */
  release(loaded: LoadedEntry): void {
    loaded.holders -= 1;
    if (loaded.holders > 0) return;
    this.#held.give(loaded.bytes);
    this.#roomFreed?.();
  }

  /** Positions count from another base now. */
  shift(fall: number): void {
    const entries = new Map<number, LoadedEntry>();
    for (const [position, loaded] of this.#entries) entries.set(position - fall, loaded);
    this.#entries = entries;
  }

  /** Before a load of so many bytes: waits until they fit beside what is held, or nothing is. */
  async waitForRoom(bytes: number): Promise<void> {
    while (this.#held.count > 0 && !this.#held.hasRoom(bytes)) {
      await new Promise<void>((resolve) => {
        this.#roomFreed = resolve;
      });
      this.#roomFreed = undefined;
    }
  }

  /** Lets go of the oldest that nobody holds, until `bytes` more fit. */
  makeRoom(bytes: number): void {
    const target = Math.max(0, this.#bytesMax - bytes);
    if (this.#bytes <= target) return;
    for (const [position, loaded] of this.#entries) {
      if (loaded.holders > 0) continue;
      this.#entries.delete(position);
      this.#bytes -= loaded.bytes;
      if (this.#bytes <= target) return;
    }
  }
}
