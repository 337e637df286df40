import type { ReservationLimits } from './reservations/reservation-budget.js';

/** Bounds of the key-value service of one store. */
export interface KvLimits extends ReservationLimits {
  /** Requests accepted and not answered, per store: count … Default 65,536. */
  readonly callsMax: number;
  /** … and bytes of their keys and values. Default 64 MiB. */
  readonly callBytesMax: number;
  /**
   * Bytes of answers that may wait for one connection to take them; a value or page beyond it is refused with
   * RESOURCE_EXHAUSTED. Default 64 MiB.
   */
  readonly answerBytesMax: number;
  /**
   * Bytes of pages that are read for a connection beyond what it has taken; more wait for it to take some.
   * Default 8 MiB.
   */
  readonly pagesAheadBytesMax: number;
  /** Bytes of answers that may wait for all connections together. Default 512 MiB. */
  readonly allAnswerBytesMax: number;
  /** Bytes of rows that point reads and commands have read and that are not answered. Default 64 MiB. */
  readonly readBytesMax: number;
  /** Payload bytes after which a turn closes one log entry and begins the next. Default 512 KiB. */
  readonly entryBytesMax: number;
  /** Scan pages and range deletions that read the engine at once. Default 32. */
  readonly scansMax: number;
  /** Scan pages that wait for one of those; more are refused. Default 1,024. */
  readonly waitingScansMax: number;
  /** Rows of scanned spans kept by leaders for the next scan, bytes per store. 0 = none. Default 32 MiB. */
  readonly scanCacheBytesMax: number;
  /** Versions one page may look at before it is cut short. Default 50,000. */
  readonly versionsPerPageMax: number;
  /** Latest changes that a leader keeps of one range while it is asked for them, bytes. Default 4 MiB. */
  readonly changeRingBytesMax: number;
  /** The same of all ranges of the store. Default 64 MiB. */
  readonly changeRingsBytesMax: number;
  /** Questions for changes that wait for something new. Default 16,384. */
  readonly heldQuestionsMax: number;
}

export const DEFAULT_KV_LIMITS: KvLimits = {
  callsMax: 65_536,
  callBytesMax: 64 * 1024 * 1024,
  answerBytesMax: 64 * 1024 * 1024,
  pagesAheadBytesMax: 8 * 1024 * 1024,
  allAnswerBytesMax: 512 * 1024 * 1024,
  readBytesMax: 64 * 1024 * 1024,
  entryBytesMax: 512 * 1024,
  scansMax: 32,
  waitingScansMax: 1_024,
  scanCacheBytesMax: 32 * 1024 * 1024,
  versionsPerPageMax: 50_000,
  changeRingBytesMax: 4 * 1024 * 1024,
  changeRingsBytesMax: 64 * 1024 * 1024,
  heldQuestionsMax: 16_384,
  reservationsMax: 100_000,
  reservationWaitersMax: 10_000,
  reservationBytesMax: 128 * 1024 * 1024,
};
