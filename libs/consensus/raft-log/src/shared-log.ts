import { assert, CairnError, logIndex, NO_BYTES, term, type RangeId } from '@cairn/base';
import type { Clock, Disk, Logger, Metrics, Rng } from '@cairn/ports';
import { EntryLoader, type UseLoaded } from './entry-loader.js';
import { LogPlaces } from './log-places.js';
import { LogWriter } from './log-writer.js';
import { type RaftLogOptions, type ResolvedOptions, resolveOptions } from './options.js';
import { bytesOfMarks, type LogHost, RangeLogView } from './range-log.js';
import { RangeState } from './range-state.js';
import { encodeRecord, RecordType } from './record-format.js';
import { RecentEntries } from './recent-entries.js';
import { type Recovered, recover } from './recovery.js';
import { evictedIndexes, rewriteBytesOf, rewriteRange } from './rewrite.js';
import { SegmentFiles } from './segment-files.js';
import { SALT_BYTES, saltFrom } from './segment-format.js';
import { Stage } from './stage.js';
import type { LogPlace, RaftLog, RaftLogStats, RangeLog, RangeMarks } from './types.js';

/** Segments that one `reclaim` frees at most. */
const RECLAIM_SEGMENTS_MAX = 16;

export interface OpenRaftLogOptions {
  readonly disk: Disk;
  /** Belongs to the log alone; created when absent. */
  readonly directory: string;
  readonly clock: Clock;
  /** Draws the salt of a new log: nobody else may be able to tell it. */
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly options?: RaftLogOptions;
}

/**
 * Opens the log of a directory and recovers what it holds. Everything recovered is durable when this
 * resolves. Throws CORRUPTION (with file, offset and what to do), FORMAT_TOO_NEW, INVALID_ARGUMENT for
 * contradicting options, and the disk's own errors.
 */
export async function openRaftLog(open: OpenRaftLogOptions): Promise<RaftLog> {
  const options = resolveOptions(open.options ?? {});
  const { disk, directory, logger } = open;
  const { segmentBytes, freeSegmentsMax } = options;
  const files = new SegmentFiles({ disk, directory, logger, segmentBytes, freeSegmentsMax });
  try {
    const epochs = await files.scan();
    // The process before may have died between a write and its sync: what recovery is about to trust must be
    // on disk.
    await disk.syncDirectory(directory);
    for (const epoch of epochs.slice(-2)) await files.fileOf(epoch).sync();
    const startedMs = open.clock.nowMs();
    const { firstEpoch } = options;
    const places = new LogPlaces(epochs[0] ?? firstEpoch);
    const recovered = await recover(files, epochs, { logger, places, firstEpoch });
    await writeLastBlockAgain(files, recovered);
    logger.info('raft log opened', {
      directory,
      segments: epochs.length,
      ranges: recovered.ranges.size,
      recoveryMs: Math.round(open.clock.nowMs() - startedMs),
    });
    files.prepareSpare();
    return new SharedLog(open, options, { files, recovered, places });
  } catch (error) {
    await files.close();
    throw error;
  }
}

/**
 * The newest block may be what the process before failed to write and ended for: then only the operating
 * system's cache holds it, marked as clean, and no sync will ever bring it to the disk. Writing the same
 * bytes again does.
 */
async function writeLastBlockAgain(files: SegmentFiles, { start, lastBlock }: Recovered): Promise<void> {
  const { from, to } = lastBlock;
  if (to === from) return;
  const bytes = await files.read(start.epoch, from, to - from);
  await files.fileOf(start.epoch).write([bytes], from);
}

class SharedLog implements RaftLog, LogHost {
  readonly recent: RecentEntries;
  readonly #options: ResolvedOptions;
  readonly #files: SegmentFiles;
  readonly #places: LogPlaces;
  readonly #stage: Stage;
  readonly #writer: LogWriter;
  readonly #loader: EntryLoader;
  readonly #ranges = new Map<RangeId, RangeLogView>();
  #reclaiming: Promise<RangeId[]> | undefined;
  #isClosed = false;

  constructor(
    open: OpenRaftLogOptions,
    options: ResolvedOptions,
    parts: { readonly files: SegmentFiles; readonly recovered: Recovered; readonly places: LogPlaces },
  ) {
    const { start, ranges } = parts.recovered;
    this.#options = options;
    this.#files = parts.files;
    this.#places = parts.places;
    this.recent = new RecentEntries(options.cacheBytesMax);
    const salt = start.salt ?? saltFrom(open.rng.bytes(SALT_BYTES));
    this.#stage = new Stage(this.recent.memory, this.#places, options, { ...start, salt });
    this.#loader = new EntryLoader(parts.files, this.recent, parts.places);
    const { clock, logger, metrics } = open;
    this.#writer = new LogWriter({
      stage: this.#stage,
      files: parts.files,
      places: parts.places,
      clock,
      logger,
      metrics,
      durablePosition: parts.places.of(start.epoch, start.offset),
      onDurable: () => {
        this.recent.memory.trim(this.#writer.durablePosition);
      },
    });
    for (const [rangeId, state] of ranges) this.#ranges.set(rangeId, new RangeLogView(this, state));
    this.#collect(metrics);
  }

  #collect(metrics: Metrics): void {
    const segments = metrics.gauge('cairn_raft_log_segments', 'Live segments of the raft log');
    const disk = metrics.gauge(
      'cairn_raft_log_disk_bytes',
      'Bytes of the raft log on disk, free segments included',
    );
    const cached = metrics.gauge('cairn_raft_log_cached_bytes', 'Bytes of raft log entries in memory');
    const staged = metrics.gauge('cairn_raft_log_staged_bytes', 'Bytes staged and not yet durable');
    metrics.onCollect(() => {
      const stats = this.stats();
      segments.set(stats.segments);
      disk.set(stats.diskBytes);
      cached.set(stats.cachedBytes);
      staged.set(stats.stagedBytes);
    });
  }

  get durablePosition(): number {
    return this.#writer.durablePosition;
  }

  get isWaitingForRoom(): boolean {
    return this.#writer.isWaitingForRoom;
  }

  get writingMs(): number {
    return this.#writer.writingMs;
  }

  get stagedBytes(): number {
    return this.#stage.stagedBytes;
  }

  get stagedBytesMax(): number {
    return this.#options.stagedBytesMax;
  }

  rangeIds(): RangeId[] {
    const ids: RangeId[] = [];
    for (const [rangeId, view] of this.#ranges) {
      if (view.state.oldestPosition !== Number.POSITIVE_INFINITY) ids.push(rangeId);
    }
    return ids;
  }

  range(rangeId: RangeId): RangeLog {
    let view = this.#ranges.get(rangeId);
    if (view === undefined) {
      view = new RangeLogView(this, new RangeState(rangeId));
      this.#ranges.set(rangeId, view);
    }
    return view;
  }

  setMarks(ranges: readonly RangeMarks[]): void {
    this.checkWritable();
    this.#stage.beginGroup(ranges.reduce((bytes, marks) => bytes + bytesOfMarks(marks), 0));
    for (const { rangeId, reset, hardState, checkpoint } of ranges) {
      const range = this.range(rangeId);
      if (reset !== undefined) range.reset(reset.index, reset.term);
      if (hardState !== undefined) range.setHardState(hardState);
      range.setCheckpoint(checkpoint);
    }
  }

  removeRange(rangeId: RangeId): void {
    const view = this.#ranges.get(rangeId);
    if (view === undefined) return;
    if (view.state.oldestPosition !== Number.POSITIVE_INFINITY) {
      this.checkWritable();
      const fields = { type: RecordType.removeRange, kind: 0, rangeId, index: logIndex(0), term: term(0) };
      this.stage(encodeRecord(fields, NO_BYTES));
    }
    view.markRemoved();
    this.#ranges.delete(rangeId);
  }

  checkWritable(): void {
    assert(!this.#isClosed, 'the raft log is closed');
    const failure = this.#writer.failure;
    if (failure !== undefined) throw failure;
  }

  placeOf(position: number): LogPlace {
    return {
      path: this.#files.pathOf(this.#places.epochOf(position)),
      offset: this.#places.offsetOf(position),
    };
  }

  stage(record: Uint8Array): number {
    return this.#stage.add(record);
  }

  loadEntries(state: RangeState, indexes: readonly number[], use: UseLoaded): Promise<void> {
    return this.#loader.load(state, indexes, use);
  }

  sync(): Promise<void> {
    assert(!this.#isClosed, 'the raft log is closed');
    return this.#writer.sync();
  }

  reclaim(): Promise<RangeId[]> {
    assert(!this.#isClosed, 'the raft log is closed');
    this.#reclaiming ??= this.#reclaim().finally(() => {
      this.#reclaiming = undefined;
    });
    return this.#reclaiming;
  }

  async #reclaim(): Promise<RangeId[]> {
    for (let count = 0; count < RECLAIM_SEGMENTS_MAX; count += 1) {
      const epoch = this.#files.oldestEpoch;
      if (epoch === undefined || epoch >= this.#places.epochOf(this.#writer.durablePosition)) break;
      const users = this.#usersUpTo(epoch);
      if (users.length > 0) {
        if (this.#files.count <= this.#options.segmentsTarget) break;
        if (!(await this.#rewriteAll(users, epoch))) break;
      }
      // What makes the segment superfluous must itself be durable before the segment goes.
      await this.#writer.sync();
      if (!(await this.#files.dropOldest())) break;
      this.#moveBase();
    }
    return this.#pinning();
  }

  /** Keeps positions exact, whatever was written: they count from the oldest segment, more or less. */
  #moveBase(): void {
    const oldest = this.#files.oldestEpoch;
    if (oldest === undefined || !this.#places.isFarBehind(oldest, this.#options.epochsPerBase)) return;
    const fall = this.#places.moveBase(oldest);
    for (const view of this.#ranges.values()) view.state.shift(fall);
    this.recent.shift(fall);
    this.#writer.shift(fall);
  }

  /** Ranges that need records in segments up to `epoch`. */
  #usersUpTo(epoch: number): RangeState[] {
    const users: RangeState[] = [];
    for (const view of this.#ranges.values()) {
      if (this.#places.epochOf(view.state.oldestPosition) <= epoch) users.push(view.state);
    }
    return users;
  }

  /** Ranges too large to be rewritten that keep the log above its target. */
  #pinning(): RangeId[] {
    const cutoff = this.#places.epochOf(this.#writer.durablePosition) - this.#options.segmentsTarget;
    const pinning: RangeId[] = [];
    for (const state of this.#usersUpTo(cutoff)) {
      const isOld = this.#places.epochOf(state.firstEntryPosition) <= cutoff;
      if (isOld && rewriteBytesOf(state) > this.#options.rewriteBytesMax) pinning.push(state.rangeId);
    }
    return pinning;
  }

  /**
   * Rewrites what the ranges have in segments up to `epoch`; false when one is too large or changed
   * meanwhile.
   */
  async #rewriteAll(users: readonly RangeState[], epoch: number): Promise<boolean> {
    const limit = this.#options.rewriteBytesMax;
    const isTooLarge = (state: RangeState): boolean =>
      this.#places.epochOf(state.firstEntryPosition) <= epoch && rewriteBytesOf(state) > limit;
    if (users.some(isTooLarge)) return false;
    for (const state of users) {
      const isLive = this.#places.epochOf(state.firstEntryPosition) <= epoch;
      const evicted = isLive ? evictedIndexes(this.recent, state) : [];
      if (evicted.length === 0) {
        if (!this.#rewrite(state, epoch)) return false;
        continue;
      }
      let isDone = false;
      await this.#loader.load(state, evicted, () => {
        isDone = this.#rewrite(state, epoch);
      });
      if (!isDone) return false;
    }
    return true;
  }

  /** False when the range cannot be rewritten now. */
  #rewrite(state: RangeState, epoch: number): boolean {
    const isRemoved = this.#ranges.get(state.rangeId)?.state !== state;
    if (isRemoved || this.#places.epochOf(state.oldestPosition) > epoch) return true;
    // Appends may have made it too large, or evictions incomplete, while the disk was read.
    if (this.#places.epochOf(state.firstEntryPosition) <= epoch) {
      if (rewriteBytesOf(state) > this.#options.rewriteBytesMax) return false;
      if (evictedIndexes(this.recent, state).length > 0) return false;
    }
    this.checkWritable();
    rewriteRange({ stage: this.#stage, recent: this.recent, places: this.#places }, state, epoch);
    return true;
  }

  stats(): RaftLogStats {
    return {
      segments: this.#files.count,
      diskBytes: this.#files.diskBytes,
      stagedBytes: this.#stage.stagedBytes,
      cachedBytes: this.recent.bytes,
    };
  }

  /**
   * Writes what is staged, unless the log has failed or its disk has no room, and closes the files. What was
   * not written was reported to nobody as durable.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#writer.closing();
    try {
      await this.#reclaiming;
      if (this.#writer.failure === undefined) await this.#writer.sync();
    } catch (error) {
      if (!CairnError.is(error) || error.code !== 'DISK_FULL') throw error;
    } finally {
      this.#isClosed = true;
      await this.#files.close();
    }
  }
}
