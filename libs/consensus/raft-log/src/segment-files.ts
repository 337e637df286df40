import { assert, messageOf, rethrowInvariant } from '@cairn/base';
import { DiskError, type Disk, type DiskFile, type Logger } from '@cairn/ports';
import { epochOfName, freeName, numberOfFreeName, segmentName } from './segment-format.js';

/** Spares are filled in durable steps of this size: the log's own writes never queue behind a large flush. */
const ZERO_FILL_STEP_BYTES = 256 * 1024;

export interface SegmentFilesOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly logger: Logger;
  readonly segmentBytes: number;
  readonly freeSegmentsMax: number;
}

interface OpenSegment {
  readonly file: DiskFile;
  readonly bytes: number;
  /** Reads in flight: the file is not recycled under them. */
  readers: number;
}

/**
 * The files of the log: live segments, and free files that become segments by renaming. Free files are as
 * long as a segment and fully written, so that a later durable write changes data only, no file size and no
 * block map.
 */
export class SegmentFiles {
  readonly #options: SegmentFilesOptions;
  readonly #segments = new Map<number, OpenSegment>();
  readonly #free: number[] = [];
  #nextFreeNumber = 1;
  /** A removal is going on or has failed. */
  #isDropBroken = false;
  #preparing: Promise<void> | undefined;
  /**
   * The disk had no room for a spare: the next segment makes its own file, and only then another is tried.
   */
  #isSpareRefused = false;

  constructor(options: SegmentFilesOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#segments.size;
  }

  get diskBytes(): number {
    let sum = this.#free.length * this.#options.segmentBytes;
    for (const segment of this.#segments.values()) sum += segment.bytes;
    return sum;
  }

  get oldestEpoch(): number | undefined {
    for (const epoch of this.#segments.keys()) return epoch;
    return undefined;
  }

  pathOf(epoch: number): string {
    return `${this.#options.directory}/${segmentName(epoch)}`;
  }

  /** Finds what is there; opens every segment. Answers their epochs, oldest first. */
  async scan(): Promise<number[]> {
    const { disk, directory } = this.#options;
    await disk.makeDirectory(directory);
    const epochs: number[] = [];
    for (const name of await disk.list(directory)) {
      const epoch = epochOfName(name);
      if (epoch !== undefined) epochs.push(epoch);
      const free = numberOfFreeName(name);
      if (free !== undefined) await this.#adoptFree(free);
    }
    epochs.sort((left, right) => left - right);
    for (const epoch of epochs) await this.#openSegment(epoch);
    return epochs;
  }

  /** A free file of another size, half written when the process died, or one too many is of no use. */
  async #adoptFree(number: number): Promise<void> {
    const { disk, directory, segmentBytes, freeSegmentsMax } = this.#options;
    this.#nextFreeNumber = Math.max(this.#nextFreeNumber, number + 1);
    const path = `${directory}/${freeName(number)}`;
    const file = await disk.open(path, { mode: 'read' });
    const size = await file.size();
    await file.close();
    if (size === segmentBytes && this.#free.length < freeSegmentsMax) this.#free.push(number);
    else await disk.remove(path);
  }

  async #openSegment(epoch: number): Promise<void> {
    const file = await this.#options.disk.open(this.pathOf(epoch), { mode: 'write', durableWrites: true });
    this.#segments.set(epoch, { file, bytes: await file.size(), readers: 0 });
  }

  has(epoch: number): boolean {
    return this.#segments.has(epoch);
  }

  fileOf(epoch: number): DiskFile {
    const segment = this.#segments.get(epoch);
    assert(segment !== undefined, 'no such segment', { epoch });
    return segment.file;
  }

  /**
   * Makes the file of a new segment, at least `bytesLeast` long, from a free one if there is one that fits.
   * After a failure it may be tried again.
   */
  async create(epoch: number, bytesLeast: number): Promise<void> {
    const { disk, directory, segmentBytes } = this.#options;
    await this.#preparing;
    const isUsual = bytesLeast <= segmentBytes;
    const free =
      (isUsual ? this.#free[0] : undefined) ?? (await this.#makeFree(Math.max(bytesLeast, segmentBytes)));
    try {
      await disk.rename(`${directory}/${freeName(free)}`, this.pathOf(epoch));
    } catch (error) {
      if (this.#free[0] !== free) await disk.remove(`${directory}/${freeName(free)}`);
      throw error;
    }
    if (this.#free[0] === free) this.#free.shift();
    this.#isSpareRefused = false;
    await disk.syncDirectory(directory);
    await this.#openSegment(epoch);
  }

  /**
   * Begins to make a free file ready when there is none, so that the next segment does not have to wait for
   * it.
   */
  prepareSpare(): void {
    if (this.#free.length > 0 || this.#preparing !== undefined || this.#isSpareRefused) return;
    if (this.#options.freeSegmentsMax === 0) return;
    this.#preparing = this.#makeFree(this.#options.segmentBytes).then(
      (number) => {
        this.#free.push(number);
        this.#preparing = undefined;
      },
      (error: unknown) => {
        rethrowInvariant(error);
        this.#preparing = undefined;
        this.#isSpareRefused = true;
        this.#options.logger.warn('raft log could not prepare a spare segment', { error: messageOf(error) });
      },
    );
  }

  async #makeFree(bytes: number): Promise<number> {
    const { disk, directory } = this.#options;
    const number = this.#nextFreeNumber;
    this.#nextFreeNumber += 1;
    const path = `${directory}/${freeName(number)}`;
    // Looked at first: what is tried again and again must not take the last room from others each time.
    if ((await disk.freeBytes(directory)) < bytes)
      throw new DiskError('DISK_FULL', path, `no space left for ${bytes} bytes of a log segment`);
    const file = await disk.open(path, { mode: 'write', durableWrites: true });
    try {
      const zeros = Buffer.alloc(Math.min(bytes, ZERO_FILL_STEP_BYTES));
      for (let at = 0; at < bytes; at += zeros.length) {
        await file.write([zeros.subarray(0, Math.min(zeros.length, bytes - at))], at);
      }
      await file.sync();
    } catch (error) {
      await file.close();
      await disk.remove(path);
      throw error;
    }
    await file.close();
    return number;
  }

  /**
   * Takes the oldest segment out of the log, durably, before anything else may be taken out: a later segment
   * never vanishes before an earlier one. False when a read is still in it. After a failure it is unknown
   * whether the segment is gone, so no other is taken out until the log is opened again.
   */
  async dropOldest(): Promise<boolean> {
    const epoch = this.oldestEpoch;
    assert(epoch !== undefined, 'there is no segment to drop');
    const segment = this.#segments.get(epoch);
    assert(segment !== undefined, 'the oldest segment is known');
    if (segment.readers > 0 || this.#isDropBroken) return false;
    this.#isDropBroken = true;
    this.#segments.delete(epoch);
    await segment.file.close();
    await this.#recycleOrRemove(epoch, segment.bytes);
    this.#isDropBroken = false;
    return true;
  }

  async #recycleOrRemove(epoch: number, bytes: number): Promise<void> {
    const { disk, directory, segmentBytes, freeSegmentsMax } = this.#options;
    if (bytes !== segmentBytes || this.#free.length >= freeSegmentsMax) {
      await disk.remove(this.pathOf(epoch));
      await disk.syncDirectory(directory);
      return;
    }
    const number = this.#nextFreeNumber;
    this.#nextFreeNumber += 1;
    try {
      await disk.rename(this.pathOf(epoch), `${directory}/${freeName(number)}`);
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'DISK_FULL') throw error;
      // No room for another name: the file itself is what is missed.
      await disk.remove(this.pathOf(epoch));
      await disk.syncDirectory(directory);
      return;
    }
    await disk.syncDirectory(directory);
    this.#free.push(number);
  }

  /** Reads from a segment; short only at the end of its file. */
  async read(epoch: number, offset: number, length: number): Promise<Buffer> {
    const segment = this.#segments.get(epoch);
    assert(segment !== undefined, 'no such segment', { epoch });
    segment.readers += 1;
    try {
      return await segment.file.read(offset, length);
    } finally {
      segment.readers -= 1;
    }
  }

  async close(): Promise<void> {
    await this.#preparing;
    for (const segment of this.#segments.values()) await segment.file.close();
    this.#segments.clear();
  }
}
