import type { RangeId, StoreId } from '@cairn/base';
import type { Message } from '@cairn/raft';

/** Ranges that messages are kept for; the oldest gives way. */
const RANGES_MAX = 256;
/** Per range, one message of each sender is kept, of at most this many. */
const SENDERS_MAX = 8;
/** Whoever asked longer ago has given up or asked again. */
const AGE_MAX_MS = 2_000;

interface EarlyVote {
  readonly from: StoreId;
  readonly message: Message;
  readonly atMs: number;
}

/**
 * Requests for votes in ranges that this store is about to create. The leader of a split applies it first and
 * asks for votes in the children at once; the others hear that the split is committed a little later. Without
 * this the first election of every child would wait for an election timeout.
 */
export class EarlyVotes {
  readonly #byRange = new Map<RangeId, EarlyVote[]>();

  keep(from: StoreId, rangeId: RangeId, message: Message, nowMs: number): void {
    const others = (this.#byRange.get(rangeId) ?? []).filter((vote) => vote.from !== from);
    if (others.length >= SENDERS_MAX) others.shift();
    others.push({ from, message, atMs: nowMs });
    this.#byRange.delete(rangeId);
    this.#byRange.set(rangeId, others);
    if (this.#byRange.size <= RANGES_MAX) return;
    const oldest = this.#byRange.keys().next();
    if (oldest.done !== true) this.#byRange.delete(oldest.value);
  }

  /** The range is here now: hands out what was kept for it and is not too old. */
  take(rangeId: RangeId, nowMs: number): readonly EarlyVote[] {
    const kept = this.#byRange.get(rangeId) ?? [];
    this.#byRange.delete(rangeId);
    return kept.filter((vote) => nowMs - vote.atMs <= AGE_MAX_MS);
  }
}
