import { NO_BYTES, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import type { Clock, Rng } from '@cairn/ports';
import type { Change, ChangesReply } from '@cairn/wire';

import { comparePositions, endOf, wholeTimestampOf, type Position } from './positions.js';
import { isPassing, pauseBeforeRetry } from './retries.js';
import { Selection } from './selection.js';
import { isBelow, sharedSpan } from './spans.js';
import type { ChangesSource, KeySpan } from './types.js';

const PAGE_BYTES = 1024 * 1024;
/** Of a question whose answer is to say that the target is resolved. */
const WAIT_MS = 1_000;
/** So long a pass waits for a range to be resolved up to the target: a transaction may be in the way. */
const UNRESOLVED_MS_MAX = 5_000;
/** Ranges that were cut, one after the other, while they were read. */
const REGROUPS_MAX = 10;

export interface CatchUpParts {
  readonly source: ChangesSource;
  readonly clock: Clock;
  readonly rng: Rng;
}

export interface Pass {
  readonly span: KeySpan;
  readonly withPrevious: boolean;
  /** What is behind it is read. */
  readonly from: Position;
  /** Up to there everything shall be resolved; the oracle has issued it. */
  readonly target: Timestamp;
  readonly bytesMax: number;
  readonly countMax: number;
  readonly signal: AbortSignal;
}

export type PassResult =
  | {
      readonly type: 'read';
      /** In order: all that stand behind `from` and not behind `bound`. */
      readonly changes: readonly Change[];
      readonly bound: Position;
      /** Everything up to the target is there. */
      readonly isWhole: boolean;
    }
  | { readonly type: 'reset'; readonly oldest: Timestamp }
  /** It came to nothing: a range is not to be had, or changes; to be tried again after a while. */
  | { readonly type: 'interrupted' };

type Failure = Exclude<PassResult, { readonly type: 'read' }>;
type Read = Failure | { readonly type: 'resolved'; readonly resolved: Timestamp };

/**
 * Reads what was changed in a span behind a position, range by range, and keeps the first part of it in
 * order, as much as its bounds allow. Ranges tell their past by keys: so each pass reads all of it, and the
 * next one goes on behind what this one kept. Rejects with what asking again would not help.
 */
export async function readPass(parts: CatchUpParts, pass: Pass): Promise<PassResult> {
  const selection = new Selection(pass.from, pass);
  let resolved = Infinity;
  let at = pass.span.start;
  let regroups = 0;
  while (isBelow(at, pass.span.end)) {
    const rest = { start: at, end: pass.span.end };
    const [range] = parts.source.ranges(rest);
    const piece = range && sharedSpan(range, rest);
    if (piece === undefined) return { type: 'interrupted' };
    const read = await new PieceReader(parts, pass, { piece, selection }).read();
    if (read === 'regroup') {
      regroups += 1;
      if (regroups > REGROUPS_MAX) return { type: 'interrupted' };
      continue;
    }
    if (read.type !== 'resolved') return read;
    resolved = Math.min(resolved, read.resolved);
    if (piece.end.length === 0) break;
    at = piece.end;
  }
  return resultOf(selection, resolved);
}

function resultOf(selection: Selection, resolved: number): PassResult {
  const kept = selection.take();
  const resolvedAt = endOf(resolved);
  const changes = kept.filter((change) => comparePositions(change, resolvedAt) < 0);
  const last = kept[kept.length - 1];
  const isCut = selection.isCut && last !== undefined && comparePositions(last, resolvedAt) < 0;
  const bound = isCut
    ? { timestamp: last.timestamp, start: last.start, sequence: last.sequence, key: last.key }
    : resolvedAt;
  return { type: 'read', changes, bound, isWhole: !isCut };
}

/** Reads the part of a span that lies in one range. */
class PieceReader {
  readonly #parts: CatchUpParts;
  readonly #pass: Pass;
  readonly #piece: KeySpan;
  readonly #selection: Selection;
  #after: Timestamp;
  #index = 0;
  #rangeId = 0;
  #resume: Uint8Array = NO_BYTES;

  constructor(
    parts: CatchUpParts,
    pass: Pass,
    { piece, selection }: { readonly piece: KeySpan; readonly selection: Selection },
  ) {
    this.#parts = parts;
    this.#pass = pass;
    this.#piece = piece;
    this.#selection = selection;
    this.#after = wholeTimestampOf(pass.from);
  }

  async read(): Promise<Read | 'regroup'> {
    const { clock } = this.#parts;
    let unresolvedSinceMs: number | undefined;
    let attempts = 0;
    for (;;) {
      const reply = await this.#ask();
      if (reply === undefined || this.#pass.signal.aborted) return { type: 'interrupted' };
      if (reply.type === 'regroup') return 'regroup';
      if (reply.type === 'reset') return reply;
      for (const change of reply.changes) this.#selection.add(change);
      this.#index = reply.index;
      this.#rangeId = reply.rangeId;
      this.#resume = reply.resume;
      if (reply.resolved >= this.#pass.target) return { type: 'resolved', resolved: reply.resolved };
      if (reply.resume.length > 0) continue;
      if (reply.resolved > this.#after) this.#after = reply.resolved;
      unresolvedSinceMs ??= clock.nowMs();
      if (clock.nowMs() - unresolvedSinceMs >= UNRESOLVED_MS_MAX) return { type: 'interrupted' };
      await pauseBeforeRetry(this.#parts, attempts, this.#pass.signal);
      attempts += 1;
    }
  }

  /** undefined = it is not to be had now. */
  async #ask(): Promise<ChangesReply | undefined> {
    const { signal, target, withPrevious } = this.#pass;
    const request = {
      ...{ start: this.#piece.start, end: this.#piece.end, after: this.#after },
      ...{ index: this.#index, rangeId: this.#rangeId, resume: this.#resume },
      ...{ withPrevious, waitMs: WAIT_MS, bytesMax: PAGE_BYTES },
    };
    try {
      return await this.#parts.source.ask(request, { readTimestamp: timestamp(target), signal });
    } catch (error) {
      rethrowInvariant(error);
      if (!signal.aborted && !isPassing(error)) throw error;
      return undefined;
    }
  }
}
