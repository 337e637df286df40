import {
  assert,
  logIndex,
  replicaId,
  term as toTerm,
  type LogIndex,
  type RangeId,
  type Term,
} from '@cairn/base';
import type { Entry, HardState } from '@cairn/raft';
import { EntryWindow } from './entry-window.js';
import { TermRuns } from './term-runs.js';
import type { RangeCheckpoint } from './types.js';

/** Of the payload of a hard state. */
export const VOTE_BYTES = 8;
const NOWHERE = Number.POSITIVE_INFINITY;

/**
 * The state of one range as the records make it, and where each part of it was last written. The same methods
 * serve live changes and recovery, so both reach the same state from the same records.
 */
export class RangeState {
  readonly rangeId: RangeId;
  readonly window = new EntryWindow();
  readonly #runs = new TermRuns();
  hardState: HardState | undefined;
  checkpoint: RangeCheckpoint | undefined;
  #hardStatePosition = NOWHERE;
  #checkpointPosition = NOWHERE;
  /** Of the last truncate or reset record; nowhere while the log begins at index 1. */
  #markPosition = NOWHERE;
  /** Recovery only: the index and term before the first entry follow from the records seen so far. */
  #isBaseKnown = false;
  /** Recovery only: what the last mark said; a log without one begins behind (0, 0). */
  #markIndex = logIndex(0);
  #markTerm = toTerm(0);

  constructor(rangeId: RangeId) {
    this.rangeId = rangeId;
    this.#runs.reset(logIndex(0), toTerm(0));
  }

  get firstIndex(): LogIndex {
    return logIndex(this.window.first);
  }
  get lastIndex(): LogIndex {
    return logIndex(this.window.end - 1);
  }
  get hardStatePosition(): number {
    return this.#hardStatePosition;
  }
  get checkpointPosition(): number {
    return this.#checkpointPosition;
  }
  get markPosition(): number {
    return this.#markPosition;
  }
  /** Position of the oldest entry; infinite without entries. Positions rise with the index. */
  get firstEntryPosition(): number {
    return this.window.count === 0 ? NOWHERE : this.window.positionAt(this.window.first);
  }
  /** Position of the oldest record that still counts; infinite when the range left nothing in the log. */
  get oldestPosition(): number {
    return Math.min(
      this.#hardStatePosition,
      this.#checkpointPosition,
      this.#markPosition,
      this.firstEntryPosition,
    );
  }

  termOf(index: LogIndex): Term | 'compacted' {
    if (index < this.window.first - 1) return 'compacted';
    assert(index < this.window.end, 'term of an index past the end of the log');
    return this.#runs.termAt(index);
  }

  setHardState(state: HardState, position: number): void {
    this.hardState = state;
    this.#hardStatePosition = position;
  }

  setCheckpoint(checkpoint: RangeCheckpoint, position: number): void {
    this.checkpoint = checkpoint;
    this.#checkpointPosition = position;
  }

  /** Forgets the entries from `index` on, ahead of a replacing append. */
  cutFrom(index: LogIndex): void {
    this.window.cutFrom(index);
    this.#runs.cutFrom(index);
  }

  /** Adds the entry that comes next. */
  push(entry: Pick<Entry, 'index' | 'term'>, location: EntryLocation): void {
    assert(entry.index === this.window.end, 'entry does not continue the log', {
      range: this.rangeId,
      index: entry.index,
      expected: this.window.end,
    });
    this.window.push(location.position, location.payloadBytes);
    this.#runs.push(entry.index, entry.term);
  }

  truncate(index: LogIndex, position: number): void {
    this.#markPosition = position;
    if (index < this.window.first) return;
    this.window.cutBelow(index + 1);
    this.#runs.cutBelow(index);
  }

  reset(index: LogIndex, term: Term, position: number): void {
    this.#markPosition = position;
    this.window.reset(index + 1);
    this.#runs.reset(index, term);
  }

  /**
   * Recovery: an entry from a record; false when it contradicts the records before.
   *
   * Old segments are freed once nothing in them counts, so what is read is a suffix of all records. Until a
   * record says where the log begins ("the base"), the first entries seen may follow others that are gone:
   *
   * | base    | the entry is                     | what happened              | so                     |
   * | ------- | -------------------------------- | -------------------------- | ---------------------- |
   * | unknown | the first, right behind the mark | nothing is missing         | it begins, base known  |
   * | unknown | the first, anywhere else         | those before were freed    | it begins              |
   * | unknown | below the first one seen         | a suffix was replaced      | it begins, likewise    |
   * | either  | among those seen                 | a suffix was replaced      | those from there on go |
   * | either  | right behind the last one        | the next append            | it is added            |
   * | either  | further behind                   | a record is missing        | contradiction          |
   * | known   | below the base                   | what was truncated is back | contradiction          |
   *
   * The mark is what the last truncate record said; before the first one, that nothing comes before index 1.
   * A term below that of the entry before is a contradiction, too; before an unknown base it is taken for 0.
   * A log whose base stays unknown is found by `isReplayComplete`: a truncate or reset record had to follow.
   */
  replayEntry(entry: Pick<Entry, 'index' | 'term'>, location: EntryLocation): boolean {
    const { first, end, count } = this.window;
    if (entry.index < 1) return false;
    if (!this.#isBaseKnown && (count === 0 || entry.index < first)) {
      this.#isBaseKnown = entry.index === this.#markIndex + 1;
      this.window.reset(entry.index);
      this.#runs.reset(logIndex(entry.index - 1), this.#isBaseKnown ? this.#markTerm : toTerm(0));
    } else if (entry.index < first || entry.index > end) {
      return false;
    } else if (entry.index < end) {
      this.cutFrom(entry.index);
    }
    if (entry.term < this.#runs.termAt(logIndex(entry.index - 1))) return false;
    this.push(entry, location);
    return true;
  }

  /**
   * Recovery: a truncate record; false when it contradicts the records before.
   *
   * | base    | the mark is                 | so                                                          |
   * | ------- | --------------------------- | ----------------------------------------------------------- |
   * | unknown | seen before any entry       | noted: an entry right behind it will make the base known    |
   * | unknown | below the first entry seen  | noted: entries between the two went with their segments     |
   * | either  | among the entries           | they go up to it, and the base is known                     |
   * | either  | at or behind the end        | contradiction: what is truncated was there                  |
   * | known   | below the base              | contradiction: truncation does not go back                  |
   */
  replayTruncate(index: LogIndex, term: Term, position: number): boolean {
    const { first, end, count } = this.window;
    const base = first - 1;
    const isEndKnown = this.#isBaseKnown || count > 0;
    if (isEndKnown && (index >= end || (this.#isBaseKnown && index < base))) return false;
    this.#noteMark(index, term, position);
    if (!isEndKnown) {
      // No entry seen yet: the log may have gone on behind the mark in segments that are gone.
      this.reset(index, term, position);
      return true;
    }
    // Below the first entry seen: more was there then, and a later record forgets or replaces it.
    if (index < base) return true;
    this.truncate(index, position);
    this.#runs.setBase(index, term);
    this.#isBaseKnown = true;
    return true;
  }

  #noteMark(index: LogIndex, term: Term, position: number): void {
    this.#markPosition = position;
    this.#markIndex = index;
    this.#markTerm = term;
  }

  /** Recovery: a reset record. */
  replayReset(index: LogIndex, term: Term, position: number): void {
    this.reset(index, term, position);
    this.#isBaseKnown = true;
  }

  /** Recovery: after the last record; false when the beginning of the log is not accounted for. */
  isReplayComplete(): boolean {
    return this.#isBaseKnown || this.window.count === 0;
  }

  /** Positions count from another base now: all fall by so much. */
  shift(fall: number): void {
    this.window.shift(fall);
    this.#hardStatePosition -= fall;
    this.#checkpointPosition -= fall;
    this.#markPosition -= fall;
  }

  /** The mark was written again: firstIndex and the term before it are as they were. */
  moveMark(position: number): void {
    this.#markPosition = position;
  }
}

export interface EntryLocation {
  readonly position: number;
  readonly payloadBytes: number;
}

export function encodeVote(state: HardState): Uint8Array {
  const payload = Buffer.alloc(VOTE_BYTES);
  payload.writeUIntLE(state.vote, 0, 6);
  return payload;
}

/** undefined for a payload that no vote is written in. */
export function decodeHardState(
  fields: { index: LogIndex; term: Term },
  payload: Buffer,
): HardState | undefined {
  if (payload.length !== VOTE_BYTES) return undefined;
  return { term: fields.term, vote: replicaId(payload.readUIntLE(0, 6)), commit: fields.index };
}
