import { CairnError, messageOf, rethrowInvariant } from '@cairn/base';
import { type Clock, DiskError, type Logger, type Metrics, type Timer } from '@cairn/ports';
import type { LogPlaces } from './log-places.js';
import type { SegmentFiles } from './segment-files.js';
import type { SealedBlock, Stage } from './stage.js';

const SYNC_BUCKETS_SECONDS = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
];

export interface LogWriterOptions {
  readonly stage: Stage;
  readonly files: SegmentFiles;
  readonly places: LogPlaces;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly durablePosition: number;
  /** Called after each sync, once `durablePosition` moved and before the waiters hear of it. */
  onDurable(): void;
}

interface Waiters {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: CairnError) => void;
}

function makeWaiters(): Waiters {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // The failure is kept and thrown at every later use; a caller that dropped its promise must not end the
  // process.
  promise.catch(rethrowInvariant);
  return { promise, resolve, reject };
}

/** How often it is tried again whether the disk has room. */
const ROOM_RETRY_MS = 500;
/** A disk that is full on and off is logged this often at most. */
const ROOM_LOG_INTERVAL_MS = 60_000;

function isDiskFull(error: unknown): error is DiskError {
  return error instanceof DiskError && error.code === 'DISK_FULL';
}

/** Turns the disk's error into the one that every later use of the log repeats. */
function asLogFailure(error: unknown): CairnError {
  rethrowInvariant(error);
  if (isDiskFull(error)) {
    return new CairnError('DISK_FULL', 'the raft log was closed while its disk had no room', {
      cause: error,
    });
  }
  // What the system says of a write names no file.
  const where = error instanceof DiskError ? ` (${error.path})` : '';
  return new CairnError(
    'INTERNAL',
    `the raft log could not be written: ${messageOf(error)}${where}; look at the disk, then restart the node`,
    { cause: error },
  );
}

/**
 * Writes staged blocks, at most one write at a time. After the first failure nothing is written any more:
 * what a failed write left on disk is unknown until recovery has looked at it. A disk without room is no
 * failure: nothing behind the block is written before the whole block is, to the same place, however often
 * that takes; what is staged meanwhile is bounded by those who stage (`stagedBytesMax`).
 */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #syncSeconds;
  readonly #syncs;
  readonly #writtenBytes;
  #durablePosition: number;
  #failure: CairnError | undefined;
  /** Those whose data is being written. */
  #active: Waiters | undefined;
  /** Those who asked meanwhile; the next write takes all that is staged by then. */
  #waiting: Waiters | undefined;
  #isWaitingForRoom = false;
  /** When the write that is under way began. */
  #writingSinceMs: number | undefined;
  /** Until the next try; ended early by `closing`. */
  #pause: { readonly timer: Timer; readonly end: () => void } | undefined;
  #loggedNoRoomMs: number | undefined;
  #isClosing = false;

  constructor(options: LogWriterOptions) {
    this.#options = options;
    this.#durablePosition = options.durablePosition;
    const { metrics } = options;
    this.#syncSeconds = metrics.histogram(
      'cairn_raft_log_sync_seconds',
      'Time of one durable write of the raft log',
      SYNC_BUCKETS_SECONDS,
    );
    this.#syncs = metrics.counter('cairn_raft_log_syncs_total', 'Durable writes of the raft log');
    this.#writtenBytes = metrics.counter(
      'cairn_raft_log_written_bytes_total',
      'Bytes written to the raft log',
    );
    const noRoom = metrics.gauge('cairn_raft_log_waits_for_room', '1 while its disk has no room for the log');
    const writing = metrics.gauge(
      'cairn_raft_log_write_under_way_seconds',
      'For how long its disk has not finished the write of the raft log that is under way',
    );
    metrics.onCollect(() => {
      noRoom.set(this.isWaitingForRoom ? 1 : 0);
      writing.set(this.writingMs / 1_000);
    });
  }

  /** The disk has no room for the block that comes next. */
  get isWaitingForRoom(): boolean {
    return this.#isWaitingForRoom;
  }

  /** For how long the disk has not finished the write that is under way; 0 = none is. */
  get writingMs(): number {
    return this.#writingSinceMs === undefined ? 0 : this.#options.clock.nowMs() - this.#writingSinceMs;
  }

  /** Room is not waited for any more: what has none fails. */
  closing(): void {
    this.#isClosing = true;
    this.#pause?.timer.cancel();
    this.#pause?.end();
  }

  get durablePosition(): number {
    return this.#durablePosition;
  }
  /** Positions count from another base now. */
  shift(fall: number): void {
    this.#durablePosition -= fall;
  }
  get failure(): CairnError | undefined {
    return this.#failure;
  }
  sync(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#waiting !== undefined) return this.#waiting.promise;
    if (this.#options.stage.isEmpty) return this.#active?.promise ?? Promise.resolve();
    const waiters = makeWaiters();
    this.#waiting = waiters;
    if (this.#active === undefined) void this.#run();
    return waiters.promise;
  }

  /** Never rejects: what goes wrong becomes `#failure` and reaches every waiter. */
  async #run(): Promise<void> {
    while (this.#waiting !== undefined) {
      const waiters: Waiters = this.#waiting;
      this.#active = waiters;
      this.#waiting = undefined;
      try {
        for (const block of this.#options.stage.take()) await this.#writeWhenRoom(block);
        this.#options.onDurable();
        this.#active = undefined;
        waiters.resolve();
      } catch (error) {
        this.#active = undefined;
        this.#fail(asLogFailure(error), waiters);
      }
    }
  }

  async #writeWhenRoom(block: SealedBlock): Promise<void> {
    for (;;) {
      this.#writingSinceMs = this.#options.clock.nowMs();
      try {
        await this.#write(block);
        this.#isWaitingForRoom = false;
        return;
      } catch (error) {
        if (!isDiskFull(error) || this.#isClosing) throw error;
        this.#isWaitingForRoom = true;
        this.#logNoRoom(error);
      } finally {
        this.#writingSinceMs = undefined;
      }
      await this.#pauseBeforeRetry();
    }
  }

  async #pauseBeforeRetry(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#pause = { timer: this.#options.clock.setTimer(ROOM_RETRY_MS, resolve), end: resolve };
    });
    this.#pause = undefined;
  }

  #logNoRoom(error: DiskError): void {
    const { clock, logger } = this.#options;
    const nowMs = clock.nowMs();
    if (this.#loggedNoRoomMs !== undefined && nowMs - this.#loggedNoRoomMs < ROOM_LOG_INTERVAL_MS) return;
    this.#loggedNoRoomMs = nowMs;
    logger.warn('the disk has no room for the raft log, it waits', {
      path: error.path,
      error: error.message,
    });
  }

  async #write(block: SealedBlock): Promise<void> {
    const { files, places, stage, clock } = this.#options;
    if (!files.has(block.epoch)) await files.create(block.epoch, block.offset + block.bytes);
    const startedMs = clock.nowMs();
    await files.fileOf(block.epoch).write(block.parts, block.offset);
    this.#syncSeconds.observe((clock.nowMs() - startedMs) / 1000);
    this.#syncs.add(1);
    this.#writtenBytes.add(block.bytes);
    this.#durablePosition = places.of(block.epoch, block.offset + block.bytes);
    stage.release(block);
    files.prepareSpare();
  }

  #fail(failure: CairnError, waiters: Waiters): void {
    this.#failure = failure;
    this.#options.logger.error('raft log stops taking writes', {
      code: failure.code,
      error: failure.message,
    });
    waiters.reject(failure);
    this.#waiting?.reject(failure);
    this.#waiting = undefined;
  }
}
