import type { RangeState } from './range-state.js';
import { ENTRY_HEADER_BYTES, entryFromRecord, isRecordIntact } from './record-format.js';
import type { RecentEntries } from './recent-entries.js';
import { damaged } from './recovery.js';
import type { SegmentFiles } from './segment-files.js';
import { epochOf, offsetOf } from './segment-format.js';

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

function batchesOf(state: RangeState, indexes: readonly number[]): Batch[] {
  const batches: Batch[] = [];
  for (const index of indexes) {
    const position = state.window.positionAt(index);
    const epoch = epochOf(position);
    const from = offsetOf(position);
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

/** Whether the entry is still the one that stood at `position` when the read began. */
function isStill(state: RangeState, index: number, position: number): boolean {
  const { window } = state;
  return index >= window.first && index < window.end && window.positionAt(index) === position;
}

/**
 * Reads entries back into memory, one load after the other: loads at the same time would throw out what each
 * other brought before anybody has used it, and go on like that for ever. Entries that were truncated,
 * replaced or moved while the read was going on are left out; the caller asks again. Throws CORRUPTION,
 * naming file and offset, for one that fails its CRC.
 */
export class EntryLoader {
  readonly #files: SegmentFiles;
  readonly #recent: RecentEntries;
  /** Settles when all loads that were asked for have ended. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(files: SegmentFiles, recent: RecentEntries) {
    this.#files = files;
    this.#recent = recent;
  }

  load(state: RangeState, indexes: readonly number[]): Promise<void> {
    const load = this.#tail.then(() => this.#load(state, indexes));
    this.#tail = load.catch(() => undefined);
    return load;
  }

  async #load(state: RangeState, asked: readonly number[]): Promise<void> {
    const { window } = state;
    // The log may have been truncated while others were served.
    const indexes = asked.filter((index) => index >= window.first && index < window.end);
    let bytes = 0;
    for (const index of indexes) bytes += state.window.payloadBytesAt(index);
    this.#recent.loaded.makeRoom(bytes);
    for (const batch of batchesOf(state, indexes)) {
      // The range may have been truncated while an earlier batch was read, and the segment may be gone.
      const isWanted = batch.indexes.some((index, at) =>
        isStill(state, index, batch.positions[at] as number),
      );
      if (!isWanted) continue;
      const bytesRead = await this.#files.read(batch.epoch, batch.from, batch.to - batch.from);
      this.#keep(state, batch, bytesRead);
    }
  }

  #keep(state: RangeState, batch: Batch, bytes: Buffer): void {
    for (const [at, index] of batch.indexes.entries()) {
      const position = batch.positions[at] as number;
      if (!isStill(state, index, position) || this.#recent.has(state, index)) continue;
      const start = offsetOf(position) - batch.from;
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
      this.#recent.loaded.keep(position, entry);
    }
  }
}
