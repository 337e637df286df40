import { assert, logIndex, NO_BYTES } from '@cairn/base';
import type { LogPlaces } from './log-places.js';
import {
  ENTRY_HEADER_BYTES,
  encodeRecord,
  entryRecord,
  type RecordFields,
  RecordType,
} from './record-format.js';
import { encodeVote, type RangeState } from './range-state.js';
import type { RecentEntries } from './recent-entries.js';
import type { Stage } from './stage.js';

/** Bytes that rewriting the whole log of a range takes. */
export function rewriteBytesOf(state: RangeState): number {
  return state.window.payloadBytes + (state.window.count + 1) * ENTRY_HEADER_BYTES;
}

/** Indexes of the entries that are not in memory. */
export function evictedIndexes(recent: RecentEntries, state: RangeState): number[] {
  const indexes: number[] = [];
  for (let index = state.window.first; index < state.window.end; index += 1) {
    if (!recent.has(state, index)) indexes.push(index);
  }
  return indexes;
}

function stageRecord(stage: Stage, fields: RecordFields, payload: Uint8Array): number {
  return stage.add(encodeRecord(fields, payload));
}

/** Where a rewrite writes, and where it has the entries from. */
export interface RewriteTarget {
  readonly stage: Stage;
  readonly recent: RecentEntries;
  readonly places: LogPlaces;
}

/**
 * Writes again what a range has in segments up to `epoch`, so that nothing of it is needed there. Entries are
 * written as a whole log behind a reset record, all in one block: recovery sees either the old log or the new
 * one. All entries must be in memory when any of them is that old. Changes nothing that a reader can see.
 */
export function rewriteRange(to: RewriteTarget, state: RangeState, epoch: number): void {
  const { stage, recent, places } = to;
  const { rangeId, window } = state;
  const baseIndex = logIndex(window.first - 1);
  const baseTerm = state.termOf(baseIndex);
  if (baseTerm === 'compacted') return;
  const isOld = (position: number): boolean => places.epochOf(position) <= epoch;
  if (isOld(state.firstEntryPosition)) {
    stage.beginGroup(rewriteBytesOf(state));
    const fields = { type: RecordType.reset, kind: 0, rangeId, index: baseIndex, term: baseTerm };
    state.moveMark(stageRecord(stage, fields, NO_BYTES));
    for (let index = window.first; index < window.end; index += 1) {
      const entry = recent.entryAt(state, index);
      assert(entry !== undefined, 'what is rewritten is in memory', { rangeId, index });
      window.move(index, stage.add(entryRecord(rangeId, entry)));
    }
  } else if (isOld(state.markPosition)) {
    const fields = { type: RecordType.truncate, kind: 0, rangeId, index: baseIndex, term: baseTerm };
    state.moveMark(stageRecord(stage, fields, NO_BYTES));
  }
  if (state.hardState !== undefined && isOld(state.hardStatePosition)) {
    const { commit, term } = state.hardState;
    const fields = { type: RecordType.hardState, kind: 0, rangeId, index: commit, term };
    state.setHardState(state.hardState, stageRecord(stage, fields, encodeVote(state.hardState)));
  }
  if (state.checkpoint !== undefined && isOld(state.checkpointPosition)) {
    const { index, term, state: hostState } = state.checkpoint;
    const fields = { type: RecordType.checkpoint, kind: 0, rangeId, index, term };
    state.setCheckpoint(state.checkpoint, stageRecord(stage, fields, hostState));
  }
}
