import { assert, NO_BYTES, type LogIndex, type RangeId, type Term } from '@cairn/base';
import type { Entry, HardState } from '@cairn/raft';
import {
  encodeRecord,
  ENTRY_HEADER_BYTES,
  entryRecord,
  indexOfRecord,
  rangeIdOfRecord,
  RecordType,
} from './record-format.js';
import { encodeVote, VOTE_BYTES, type RangeState } from './range-state.js';
import type { RecentEntries } from './recent-entries.js';
import type { UseLoaded } from './entry-loader.js';
import type { LogPlace, RangeCheckpoint, RangeLog, RangeMarks } from './types.js';

/** Bytes that the records of the marks take. */
export function bytesOfMarks({ reset, hardState, checkpoint }: RangeMarks): number {
  const resetBytes = reset === undefined ? 0 : ENTRY_HEADER_BYTES;
  const hardStateBytes = hardState === undefined ? 0 : ENTRY_HEADER_BYTES + VOTE_BYTES;
  return resetBytes + hardStateBytes + ENTRY_HEADER_BYTES + checkpoint.state.length;
}

/** What a range needs from the log it lives in. */
export interface LogHost {
  readonly recent: RecentEntries;
  /** Everything before it is on disk for good. */
  readonly durablePosition: number;
  /** Throws when the log refuses writes. */
  checkWritable(): void;
  stage(record: Uint8Array): number;
  placeOf(position: number): LogPlace;
  /** Reads entries back into memory; those that changed meanwhile are left out. */
  loadEntries(state: RangeState, indexes: readonly number[], use: UseLoaded): Promise<void>;
}

/** The view of one range. All changes take effect in memory at once and are staged for the next sync. */
export class RangeLogView implements RangeLog {
  readonly rangeId: RangeId;
  readonly #host: LogHost;
  readonly #state: RangeState;
  #isRemoved = false;

  constructor(host: LogHost, state: RangeState) {
    this.#host = host;
    this.#state = state;
    this.rangeId = state.rangeId;
  }

  get state(): RangeState {
    return this.#state;
  }
  get hardState(): HardState | undefined {
    return this.#state.hardState;
  }
  get checkpoint(): RangeCheckpoint | undefined {
    return this.#state.checkpoint;
  }
  checkpointPlace(): LogPlace {
    return this.#host.placeOf(this.#state.checkpointPosition);
  }
  get entryBytes(): number {
    return this.#state.window.payloadBytes;
  }

  firstIndex(): LogIndex {
    return this.#state.firstIndex;
  }

  lastIndex(): LogIndex {
    return this.#state.lastIndex;
  }

  termOf(index: LogIndex): Term | 'compacted' {
    return this.#state.termOf(index);
  }

  entries(
    from: LogIndex,
    toExclusive: LogIndex,
    bytesMax: number,
  ): readonly Entry[] | 'compacted' | 'loading' {
    const { window } = this.#state;
    if (from < window.first) return 'compacted';
    assert(from < toExclusive && toExclusive <= window.end, 'no such entries', { from, toExclusive });
    const found: Entry[] = [];
    let bytes = 0;
    for (let index: number = from; index < toExclusive; index += 1) {
      bytes += window.payloadBytesAt(index);
      if (bytes > bytesMax && found.length > 0) break;
      const entry = this.#host.recent.entryAt(this.#state, index);
      if (entry === undefined) break;
      found.push(entry);
    }
    return found.length === 0 ? 'loading' : found;
  }

  append(entries: readonly Entry[]): void {
    const head = entries[0];
    if (head === undefined) return;
    this.#checkAppend(entries, head);
    const state = this.#state;
    if (head.index < state.window.end) state.cutFrom(head.index);
    for (const entry of entries) {
      const record = entryRecord(this.rangeId, entry);
      assert(
        rangeIdOfRecord(record) === this.rangeId && indexOfRecord(record) === entry.index,
        'the entry carries the record of another',
      );
      const position = this.#host.stage(record);
      state.push(entry, { position, payloadBytes: entry.payload.length });
    }
  }

  /** Everything is checked before anything changes, so that a refused append leaves no trace. */
  #checkAppend(entries: readonly Entry[], head: Entry): void {
    const { window, checkpoint } = this.#state;
    assert(!this.#isRemoved, 'the range was removed from the log', { range: this.rangeId });
    assert(head.index <= window.end, 'append leaves a gap', { index: head.index, expected: window.end });
    assert(head.index >= window.first, 'append below the truncated prefix', { index: head.index });
    if (head.index < window.end && checkpoint !== undefined) {
      assert(head.index > checkpoint.index, 'append replaces what is applied', { index: head.index });
    }
    let index: number = head.index;
    let term = this.#state.termOf((head.index - 1) as LogIndex);
    assert(term !== 'compacted', 'the term before an append is known');
    for (const entry of entries) {
      assert(entry.index === index, 'entries are not consecutive', { index: entry.index, expected: index });
      assert(entry.term >= term, 'terms run backwards', { index, term: entry.term, before: term });
      term = entry.term;
      index += 1;
    }
    this.#host.checkWritable();
  }

  setHardState(hardState: HardState): void {
    const before = this.#state.hardState;
    assert(before === undefined || hardState.term >= before.term, 'the term of a range never falls');
    const position = this.#stageMark(
      RecordType.hardState,
      hardState.commit,
      hardState.term,
      encodeVote(hardState),
    );
    this.#state.setHardState({ ...hardState }, position);
  }

  setCheckpoint(checkpoint: RangeCheckpoint): void {
    const before = this.#state.checkpoint;
    assert(before === undefined || checkpoint.index >= before.index, 'a checkpoint never goes back');
    const { index, term, state } = checkpoint;
    const position = this.#stageMark(RecordType.checkpoint, index, term, state);
    this.#state.setCheckpoint({ index, term, state }, position);
  }

  truncate(index: LogIndex, term: Term): void {
    const { window, checkpoint } = this.#state;
    if (index < window.first) return;
    assert(checkpoint !== undefined && index <= checkpoint.index, 'truncation above the checkpoint', {
      range: this.rangeId,
      index,
      checkpoint: checkpoint?.index,
    });
    assert(index < window.end, 'truncation past the end of the log', { index, end: window.end });
    assert(this.#state.termOf(index) === term, 'truncation names another term', { index, term });
    const position = this.#stageMark(RecordType.truncate, index, term, NO_BYTES);
    this.#state.truncate(index, position);
  }

  reset(index: LogIndex, term: Term): void {
    assert(index > 0 || term === 0, 'nothing comes before the first entry', { index, term });
    const position = this.#stageMark(RecordType.reset, index, term, NO_BYTES);
    this.#state.reset(index, term, position);
  }

  load(from: LogIndex, toExclusive: LogIndex, bytesMax: number, use: UseLoaded): Promise<void> {
    const { window } = this.#state;
    const indexes: number[] = [];
    let bytes = 0;
    const most = Math.min(bytesMax, this.#host.recent.loaded.loadBytesMax);
    const end = Math.min(toExclusive, window.end);
    for (let index = Math.max(from, window.first); index < end; index += 1) {
      bytes += window.payloadBytesAt(index);
      if (bytes > most && indexes.length > 0) break;
      indexes.push(index);
    }
    return this.#host.loadEntries(this.#state, indexes, use);
  }

  /** The log forgot the range; this view takes no more changes. */
  markRemoved(): void {
    this.#isRemoved = true;
    this.#state.window.reset(1);
  }

  #stageMark(type: RecordType, index: LogIndex, term: Term, payload: Uint8Array): number {
    assert(!this.#isRemoved, 'the range was removed from the log', { range: this.rangeId });
    this.#host.checkWritable();
    const fields = { type, kind: 0, rangeId: this.rangeId, index, term };
    return this.#host.stage(encodeRecord(fields, payload));
  }
}
