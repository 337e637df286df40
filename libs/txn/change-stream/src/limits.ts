/** Bounds of the change streams of one router. */
export interface StreamLimits {
  /** Watches that are open, of all callers; they share the places (`FairShare`). */
  readonly watchersMax: number;
  /** Parts of ranges that are asked about. */
  readonly feedsMax: number;
  /** Of one watch: changes that its caller has not taken. Beyond, it is read anew when they are taken. */
  readonly backlogBytesMax: number;
  readonly backlogChangesMax: number;
  /** The same of all watches together, which callers share. */
  readonly backlogsBytesMax: number;
  /** Of one feed: changes that are not resolved. Beyond, its watches are read anew. */
  readonly unresolvedBytesMax: number;
  /** Watches that read what was before at a time; the others wait. */
  readonly catchUpsMax: number;
  /** A watch from now waits at most so long for leaders to begin to remember what is changed. */
  readonly primeMs: number;
  /** How long a feed goes on when nobody watches. */
  readonly lingerMs: number;
  /** Who takes nothing for so long, and has a full backlog, is ended. */
  readonly stallMs: number;
  /** What one message to a caller holds; one change that is larger goes alone. */
  readonly batchBytesMax: number;
  readonly batchChangesMax: number;
}

export const DEFAULT_STREAM_LIMITS: StreamLimits = {
  watchersMax: 20_000,
  feedsMax: 10_000,
  backlogBytesMax: 4 * 1024 * 1024,
  backlogChangesMax: 65_536,
  backlogsBytesMax: 256 * 1024 * 1024,
  unresolvedBytesMax: 16 * 1024 * 1024,
  catchUpsMax: 16,
  primeMs: 1_000,
  lingerMs: 5_000,
  stallMs: 30_000,
  batchBytesMax: 256 * 1024,
  batchChangesMax: 1_000,
};

/** What a watch that names no interval has between signs of life. */
export const PROGRESS_MS_DEFAULT = 5_000;
export const PROGRESS_MS_MIN = 500;
export const PROGRESS_MS_MAX = 60_000;
