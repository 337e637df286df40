import type { RangeId, Term, Timestamp } from '@cairn/base';

/** Bytes of a key that are shown; of a longer one, how many there are. */
const KEY_BYTES_SHOWN_MAX = 32;

/** Outcomes of recent commands that a range remembers. */
export interface KvWindowView {
  readonly outcomes: number;
  /** Bytes of what they say besides. */
  readonly detailBytes: number;
  /** Every command with a timestamp above this is among them. */
  readonly completeSince: Timestamp;
}

/**
 * What the machine of one range is and holds at one moment, for people, tests and tools: plain data of
 * bounded size. Two replicas in the same state show the same, up to where it says otherwise.
 */
export interface KvMachineView {
  readonly rangeId: RangeId;
  /** Hexadecimal, cut after 32 bytes; empty = the first or the end of all keys. */
  readonly startKey: string;
  readonly endKey: string;
  readonly version: number;
  readonly isClosed: boolean;
  /** Of the replica: an index that is visible, and a term; they follow the log. */
  readonly appliedIndex: number;
  readonly term: Term;
  /** Of the newest write that was applied here; 0 = none since the start. */
  readonly appliedTimestamp: number;
  /** The oldest timestamp that may be read at. */
  readonly readableSince: Timestamp;
  /** Keys that transactions have locked, and estimated bytes of that; a leader counts what is under way. */
  readonly locks: number;
  readonly lockBytes: number;
  /** undefined = nobody knows yet, since the start, what was remembered. */
  readonly window: KvWindowView | undefined;
  /** Engine bytes of the span, estimated by each replica for itself. */
  readonly estimatedBytes: number;
  /** What follows is of this replica only. */
  readonly isServing: boolean;
  /** A timestamp issued when it last became leader; 0 = never since the start. */
  readonly leaderSince: Timestamp;
  /** Keys that are reserved in its memory, and places in queues for them; only a leader has any. */
  readonly reservations: number;
  readonly reservationWaiters: number;
  /** A range deletion reads: writes wait. */
  readonly isExclusive: boolean;
  readonly queuedCalls: number;
  /** Reads and deletions that wait until what is proposed is visible. */
  readonly publishWaiters: number;
  /** Log entries of this leader that the engine does not hold; and those of them that are not committed. */
  readonly pendingEntries: number;
  readonly uncommittedEntries: number;
  /** Rows of another leader that are applied and not visible. */
  readonly unpublishedRows: number;
  /** Reads of the engine that are shared. */
  readonly coldReads: number;
  /** Bytes of scanned rows that are kept, estimated. The row cache belongs to the store. */
  readonly scanCacheBytes: number;
}

/** A key as hexadecimal, cut to a length that lines bear. */
export function keyText(key: Uint8Array): string {
  const shown = Buffer.from(key.subarray(0, KEY_BYTES_SHOWN_MAX)).toString('hex');
  return key.length <= KEY_BYTES_SHOWN_MAX ? shown : `${shown}… (${key.length} bytes)`;
}

/** The view as one line: `range 7 [61, 62) version 2: name value, …`, in the order of the interface. */
export function lineOf({ rangeId, startKey, endKey, version, window, ...rest }: KvMachineView): string {
  const remembered =
    window === undefined
      ? 'window unknown'
      : `window ${window.outcomes} outcomes since ${window.completeSince} (${window.detailBytes} bytes)`;
  const values = Object.entries(rest).map(([name, value]) => `${name} ${String(value)}`);
  const span = `[${startKey}, ${endKey})`;
  return `range ${rangeId} ${span} version ${version}: ${[...values, remembered].join(', ')}`;
}
