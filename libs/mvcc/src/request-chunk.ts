import { timestamp } from '@cairn/base';
import { CommandOutcome, OutcomeKind, checkedOutcomeKind } from './command-outcome.js';

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

/** A fixed number of outcomes in columns. Append only: full chunks never change and may be shared. */
export class RequestChunk {
  readonly capacity: number;
  readonly clients: Float64Array;
  readonly requestSequences: Float64Array;
  readonly timestamps: Float64Array;
  readonly sequences: Uint32Array;
  readonly kinds: Uint8Array;
  /** `OutcomeFlag` bits and `FLAG_HAS_DETAIL`. */
  readonly flags: Uint8Array;
  /** Results of increments, once there is one. */
  numbers: Float64Array | undefined = undefined;
  /** Rare bulky details by slot. */
  details: Map<number, Buffer> | undefined = undefined;
  length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.clients = new Float64Array(capacity);
    this.requestSequences = new Float64Array(capacity);
    this.timestamps = new Float64Array(capacity);
    this.sequences = new Uint32Array(capacity);
    this.kinds = new Uint8Array(capacity);
    this.flags = new Uint8Array(capacity);
  }

  /** Answers what the entry costs against the detail budget: 0 for nearly all. */
  append(outcome: CommandOutcome): number {
    const slot = this.length;
    this.length = slot + 1;
    this.clients[slot] = outcome.client;
    this.requestSequences[slot] = outcome.requestSequence;
    this.timestamps[slot] = outcome.timestamp;
    this.sequences[slot] = outcome.sequence;
    this.kinds[slot] = outcome.kind;
    this.flags[slot] = outcome.flags;
    return outcome.detail === undefined ? 0 : this.#keepDetail(slot, outcome, outcome.detail);
  }

  /** Independent of this chunk; details are shared, they never change. */
  copy(): RequestChunk {
    const copy = new RequestChunk(this.capacity);
    copy.clients.set(this.clients);
    copy.requestSequences.set(this.requestSequences);
    copy.timestamps.set(this.timestamps);
    copy.sequences.set(this.sequences);
    copy.kinds.set(this.kinds);
    copy.flags.set(this.flags);
    if (this.numbers !== undefined) copy.numbers = this.numbers.slice();
    if (this.details !== undefined) copy.details = new Map(this.details);
    copy.length = this.length;
    return copy;
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
    this.flags[slot] = (this.flags[slot] as number) | FLAG_HAS_DETAIL;
  }

  /** What `append` answered for the entry. */
  detailCostAt(slot: number): number {
    if (((this.flags[slot] as number) & FLAG_HAS_DETAIL) === 0) return 0;
    return (this.details?.get(slot)?.length ?? 0) + DETAIL_OVERHEAD_BYTES;
  }

  /** A copy of the entry; the detail is shared and must not be changed. */
  outcomeAt(slot: number): CommandOutcome {
    const outcome = new CommandOutcome();
    const flags = this.flags[slot] as number;
    outcome.client = this.clients[slot] as number;
    outcome.requestSequence = this.requestSequences[slot] as number;
    outcome.kind = checkedOutcomeKind(this.kinds[slot] as number, flags & OUTCOME_FLAGS);
    outcome.flags = flags & OUTCOME_FLAGS;
    outcome.timestamp = timestamp(this.timestamps[slot] as number);
    outcome.sequence = this.sequences[slot] as number;
    if ((flags & FLAG_HAS_DETAIL) !== 0) outcome.detail = this.details?.get(slot);
    else if (outcome.kind === OutcomeKind.increment) {
      outcome.detail = Buffer.from(String(this.numbers?.[slot] ?? 0), 'latin1');
    }
    return outcome;
  }
}
