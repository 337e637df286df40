import type { Entry } from '@cairn/raft';
import { LoadedEntries } from './loaded-entries.js';
import { LogMemory } from './log-memory.js';
import type { RangeState } from './range-state.js';
import { decodeEntry, ENTRY_HEADER_BYTES } from './record-format.js';

/** Of the bound: what was read back may take this much, besides. */
const LOADED_SHARE = 0.25;

/** The entries of all ranges that can be had without the disk: the newest ones, and what was read back. */
export class RecentEntries {
  readonly memory: LogMemory;
  readonly loaded: LoadedEntries;

  constructor(bytesMax: number) {
    this.memory = new LogMemory(bytesMax);
    this.loaded = new LoadedEntries(Math.floor(bytesMax * LOADED_SHARE));
  }

  get bytes(): number {
    return this.memory.bytes + this.loaded.bytes;
  }

  /** A copy of the entry; undefined when it has to be loaded. The index must be in the window. */
  entryAt(state: RangeState, index: number): Entry | undefined {
    const position = state.window.positionAt(index);
    const bytes = ENTRY_HEADER_BYTES + state.window.payloadBytesAt(index);
    const record = this.memory.read(position, bytes);
    if (record === undefined) return this.loaded.get(position);
    return decodeEntry(record);
  }

  /** Positions count from another base now. */
  shift(fall: number): void {
    this.memory.shift(fall);
    this.loaded.shift(fall);
  }

  has(state: RangeState, index: number): boolean {
    const position = state.window.positionAt(index);
    return this.memory.has(position) || this.loaded.get(position) !== undefined;
  }
}
