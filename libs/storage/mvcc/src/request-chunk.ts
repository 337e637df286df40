import { timestamp } from '@cairn/base';
import { CommandOutcome, OutcomeKind, checkedOutcomeKind } from './command-outcome.js';
import { hashRequest, RequestIndex } from './request-index.js';

/** Internal flag beside `OutcomeFlag`: the detail is in the chunk's map, not in its numbers. */
export const FLAG_HAS_DETAIL = 0x80;
export const OUTCOME_FLAGS = 0x7f;

/** What a detail costs against the budget beside its bytes. */
export const DETAIL_OVERHEAD_BYTES = 64;

/** The number an increment's text stands for, if a double holds it exactly and prints it the same way. */
function exactNumber(detail: Buffer): number | undefined {
  if (detail.length === 0 || detail.length > 17) return undefined;
  const text = detail.toString('latin1');
  const value = Number(text);
  return Number.isSafeInteger(value) && String(value) === text ? value : undefined;
}

/** Up to so many entries are looked through one by one. */
const UNINDEXED_MAX = 64;
export const NO_SLOT = -1;

/** Doubles of one entry: client, request sequence, timestamp, and the rest packed into one. */
const ROW = 4;
const SEQUENCE_UNIT = 0x10000;
const KIND_UNIT = 0x100;

/** What an entry is made of besides a detail. */
export interface ChunkEntry {
  readonly client: number;
  readonly requestSequence: number;
  readonly timestamp: number;
  readonly sequence: number;
  readonly kind: number;
  /** `OutcomeFlag` bits and `FLAG_HAS_DETAIL`. */
  readonly flags: number;
}

/**
 * A fixed number of outcomes. Append only: full chunks never change and may be shared. An entry's fields lie
 * side by side, half a cache line: with a thousand ranges every append finds its chunk cold.
 */
export class RequestChunk {
  readonly capacity: number;
  readonly #rows: Float64Array;
  /** Results of increments, once there is one. */
  numbers: Float64Array | undefined = undefined;
  /** Rare bulky details by slot. */
  details: Map<number, Buffer> | undefined = undefined;
  length = 0;
  /** Of all its entries. */
  newestTimestamp = 0;
  #index: RequestIndex | undefined = undefined;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#rows = new Float64Array(capacity * ROW);
  }

  clientAt(slot: number): number {
    return this.#rows[slot * ROW] as number;
  }

  requestSequenceAt(slot: number): number {
    return this.#rows[slot * ROW + 1] as number;
  }

  timestampAt(slot: number): number {
    return this.#rows[slot * ROW + 2] as number;
  }

  sequenceAt(slot: number): number {
    return Math.floor((this.#rows[slot * ROW + 3] as number) / SEQUENCE_UNIT);
  }

  kindAt(slot: number): number {
    return Math.floor((this.#rows[slot * ROW + 3] as number) / KIND_UNIT) & 0xff;
  }

  /** `OutcomeFlag` bits and `FLAG_HAS_DETAIL`. */
  flagsAt(slot: number): number {
    return (this.#rows[slot * ROW + 3] as number) & 0xff;
  }

  /** Sets a slot, below `length`, to an entry without detail. */
  setEntry(slot: number, entry: ChunkEntry): void {
    const rows = this.#rows;
    const at = slot * ROW;
    rows[at] = entry.client;
    rows[at + 1] = entry.requestSequence;
    rows[at + 2] = entry.timestamp;
    if (entry.timestamp > this.newestTimestamp) this.newestTimestamp = entry.timestamp;
    rows[at + 3] = entry.sequence * SEQUENCE_UNIT + entry.kind * KIND_UNIT + entry.flags;
  }

  /** Answers what the entry costs against the detail budget: 0 for nearly all. */
  append(outcome: CommandOutcome): number {
    const slot = this.length;
    this.length = slot + 1;
    this.setEntry(slot, outcome);
    return outcome.detail === undefined ? 0 : this.#keepDetail(slot, outcome, outcome.detail);
  }

  /** A full chunk with the same entries: this one, when it is full. */
  sealed(): RequestChunk {
    if (this.length === this.capacity) return this;
    const sealed = new RequestChunk(this.length);
    sealed.#rows.set(this.#rows.subarray(0, this.length * ROW));
    sealed.numbers = this.numbers?.slice(0, this.length);
    sealed.details = this.details;
    sealed.length = this.length;
    sealed.newestTimestamp = this.newestTimestamp;
    return sealed;
  }

  #keepDetail(slot: number, outcome: CommandOutcome, detail: Buffer): number {
    if (outcome.kind === OutcomeKind.increment) {
      const number = exactNumber(detail);
      if (number !== undefined) {
        this.setNumber(slot, number);
        return 0;
      }
    }
    this.setDetail(slot, Buffer.from(detail));
    return detail.length + DETAIL_OVERHEAD_BYTES;
  }

  setNumber(slot: number, number: number): void {
    this.numbers ??= new Float64Array(this.capacity);
    this.numbers[slot] = number;
  }

  /** The chunk keeps the buffer. */
  setDetail(slot: number, detail: Buffer): void {
    this.details ??= new Map();
    this.details.set(slot, detail);
    if (!this.hasDetail(slot))
      this.#rows[slot * ROW + 3] = (this.#rows[slot * ROW + 3] as number) + FLAG_HAS_DETAIL;
  }

  hasDetail(slot: number): boolean {
    return (this.flagsAt(slot) & FLAG_HAS_DETAIL) !== 0;
  }

  /** What `append` answered for the entry. */
  detailCostAt(slot: number): number {
    if (!this.hasDetail(slot)) return 0;
    return (this.details?.get(slot)?.length ?? 0) + DETAIL_OVERHEAD_BYTES;
  }

  /**
   * The first slot of the request, from `from` on; NO_SLOT when it is not here. The first search in a full
   * chunk builds an index, which all windows that share the chunk use.
   */
  find(client: number, requestSequence: number, from: number): number {
    const matches = (slot: number): boolean =>
      slot >= from && this.requestSequenceAt(slot) === requestSequence && this.clientAt(slot) === client;
    if (this.length < this.capacity || this.length <= UNINDEXED_MAX) {
      for (let slot = from; slot < this.length; slot += 1) if (matches(slot)) return slot;
      return NO_SLOT;
    }
    this.#index ??= new RequestIndex(this.length, (slot) =>
      hashRequest(this.clientAt(slot), this.requestSequenceAt(slot)),
    );
    return this.#index.find(hashRequest(client, requestSequence), matches);
  }

  /** A copy of the entry; the detail is shared and must not be changed. */
  outcomeAt(slot: number): CommandOutcome {
    const outcome = new CommandOutcome();
    const flags = this.flagsAt(slot);
    outcome.client = this.clientAt(slot);
    outcome.requestSequence = this.requestSequenceAt(slot);
    outcome.kind = checkedOutcomeKind(this.kindAt(slot), flags & OUTCOME_FLAGS);
    outcome.flags = flags & OUTCOME_FLAGS;
    outcome.timestamp = timestamp(this.timestampAt(slot));
    outcome.sequence = this.sequenceAt(slot);
    if (this.hasDetail(slot)) outcome.detail = this.details?.get(slot);
    else if (outcome.kind === OutcomeKind.increment) {
      outcome.detail = Buffer.from(String(this.numbers?.[slot] ?? 0), 'latin1');
    }
    return outcome;
  }
}
