import { rethrowInvariant } from '@cairn/base';
import type { LogPlaces } from './log-places.js';
import type { LoadedEntry } from './loaded-entries.js';
import type { RangeState } from './range-state.js';
import { ENTRY_HEADER_BYTES, entryFromRecord, isRecordIntact } from './record-format.js';
import type { RecentEntries } from './recent-entries.js';
import { damaged } from './recovery.js';
import type { SegmentFiles } from './segment-files.js';

/** Records of other ranges in between are read along up to here: cheaper than a read of its own. */
const GAP_BYTES_MAX = 32 * 1024;
const READ_BYTES_MAX = 1024 * 1024;

/** Entries that one read fetches, with the positions they had when it began. */
interface Batch {
  readonly epoch: number;
  readonly from: number;
  to: number;
  readonly indexes: number[];
  readonly positions: number[];
}

function batchesOf(places: LogPlaces, state: RangeState, indexes: readonly number[]): Batch[] {
  const batches: Batch[] = [];
  for (const index of indexes) {
    const position = state.window.positionAt(index);
    const epoch = places.epochOf(position);
    const from = places.offsetOf(position);
    const to = from + ENTRY_HEADER_BYTES + state.window.payloadBytesAt(index);
    const open = batches.at(-1);
    const joins =
      open?.epoch === epoch && from - open.to <= GAP_BYTES_MAX && to - open.from <= READ_BYTES_MAX;
    if (joins) {
      open.to = to;
      open.indexes.push(index);
      open.positions.push(position);
    } else {
      batches.push({ epoch, from, to, indexes: [index], positions: [position] });
    }
  }
  return batches;
}

/** What the callers of a load do with the entries; they stay in memory until it has settled. */
export type UseLoaded = () => void | Promise<void>;

function isInside({ window }: RangeState, index: number): boolean {
  return index >= window.first && index < window.end;
}

/** As `LoadedEntries` counts them. */
function bytesOf({ window }: RangeState, index: number): number {
  return window.payloadBytesAt(index) + 1;
}

/** Whether the entry is still the one that stood at `position` when the read began. */
function isStill(state: RangeState, index: number, position: number): boolean {
  return isInside(state, index) && state.window.positionAt(index) === position;
}

/**
 * Reads entries back into memory, one load after the other, and holds them there until their caller has used
 * them: loads would else throw out what each other brought before anybody has used it, and go on like that
 * for ever. Entries that were truncated, replaced or moved while the read was going on are left out; the
 * caller asks again. Throws CORRUPTION, naming file and offset, for one that fails its CRC.
 */
export class EntryLoader {
  readonly #files: SegmentFiles;
  readonly #recent: RecentEntries;
  readonly #places: LogPlaces;
  /** Settles when all loads that were asked for have ended. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(files: SegmentFiles, recent: RecentEntries, places: LogPlaces) {
    this.#places = places;
    this.#files = files;
    this.#recent = recent;
  }

  /** `use` is called when the entries are in memory; they stay until what it answers has settled. */
  async load(state: RangeState, indexes: readonly number[], use: UseLoaded): Promise<void> {
    const held: LoadedEntry[] = [];
    const load = this.#tail.then(() => this.#load(state, indexes, held));
    this.#tail = load.catch(rethrowInvariant);
    try {
      await load;
      await use();
    } finally {
      for (const loaded of held) this.#recent.loaded.release(loaded);
    }
  }

  async #load(state: RangeState, asked: readonly number[], held: LoadedEntry[]): Promise<void> {
    const { loaded, memory } = this.#recent;
    let bytes = 0;
    for (const index of asked) if (isInside(state, index)) bytes += bytesOf(state, index);
    await loaded.waitForRoom(bytes);
    const missing: number[] = [];
    let missingBytes = 0;
    for (const index of asked) {
      // The log may have been truncated while others were served.
      if (!isInside(state, index)) continue;
      const found = loaded.hold(state.window.positionAt(index));
      if (found !== undefined) held.push(found);
      else if (!memory.has(state.window.positionAt(index))) {
        missing.push(index);
        missingBytes += bytesOf(state, index);
      }
    }
    if (missing.length === 0) return;
    loaded.makeRoom(missingBytes);
    for (const batch of batchesOf(this.#places, state, missing)) {
      // The range may have been truncated while an earlier batch was read, and the segment may be gone.
      const isWanted = batch.indexes.some((index, at) =>
        isStill(state, index, batch.positions[at] as number),
      );
      if (!isWanted) continue;
      const bytesRead = await this.#files.read(batch.epoch, batch.from, batch.to - batch.from);
      this.#keep(state, batch, bytesRead, held);
    }
  }

  #keep(state: RangeState, batch: Batch, bytes: Buffer, held: LoadedEntry[]): void {
    for (const [at, index] of batch.indexes.entries()) {
      const position = batch.positions[at] as number;
      if (!isStill(state, index, position) || this.#recent.has(state, index)) continue;
      const start = this.#places.offsetOf(position) - batch.from;
      const length = ENTRY_HEADER_BYTES + state.window.payloadBytesAt(index);
      const record = bytes.subarray(start, start + length);
      if (!isRecordIntact(record)) {
        throw damaged(
          this.#files.pathOf(batch.epoch),
          batch.from + start,
          `entry ${index} fails its checksum`,
        );
      }
      const entry = entryFromRecord(record);
      if (entry.index !== index || entry.term !== state.termOf(entry.index)) {
        throw damaged(
          this.#files.pathOf(batch.epoch),
          batch.from + start,
          `another record stands for entry ${index}`,
        );
      }
      held.push(this.#recent.loaded.keep(position, entry));
    }
  }
}
