import { timestamp, type Holder, type Timestamp } from '@cairn/base';

import type { BacklogRoom } from './backlog-room.js';
import type { StreamLimits } from './limits.js';
import { comparePositions, inOrder, type Position } from './positions.js';
import type { StreamEvent } from './types.js';

/** What one change costs beside its bytes. */
const EVENT_BYTES = 200;

/**
 * What one watch has and its caller has not taken: changes that are not resolved in all its parts, those that
 * are ready, and the batch that was handed out last. Bounded by `StreamLimits`.
 */
export class Backlog {
  readonly #holder: Holder;
  readonly #room: BacklogRoom;
  readonly #limits: StreamLimits;
  readonly #nowMs: () => number;
  #unresolved: StreamEvent[] = [];
  #ready: StreamEvent[] = [];
  /** Those before it were handed out. */
  #head = 0;
  #handedBytes = 0;

  constructor(
    holder: Holder,
    {
      room,
      limits,
      nowMs,
    }: { readonly room: BacklogRoom; readonly limits: StreamLimits; readonly nowMs: () => number },
  ) {
    this.#holder = holder;
    this.#room = room;
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  get hasUnresolved(): boolean {
    return this.#unresolved.length > 0;
  }

  get hasReady(): boolean {
    return this.#head < this.#ready.length;
  }

  /** Its caller has taken everything. */
  get isEmpty(): boolean {
    return this.#holder.heldBytes === 0;
  }

  /** Of the newest unresolved change; 0 = there is none. */
  get newestUnresolved(): Timestamp {
    return timestamp(this.#unresolved.reduce((newest, { timestamp: at }) => Math.max(newest, at), 0));
  }

  /** Answers false when there is no room. A change is taken alone, whatever its size. */
  tryAdd(event: StreamEvent): boolean {
    const { backlogBytesMax, backlogChangesMax } = this.#limits;
    const bytes = bytesOf(event);
    const count = this.#unresolved.length + this.#ready.length - this.#head;
    const isFull = this.#holder.heldBytes + bytes > backlogBytesMax || count >= backlogChangesMax;
    if ((isFull && !this.isEmpty) || !this.#room.tryTake(this.#holder, bytes)) return false;
    this.#unresolved.push(event);
    return true;
  }

  /** All or nothing: answers false when there is no room. They are in order, behind all that were ready. */
  tryAddReady(events: readonly StreamEvent[]): boolean {
    if (events.length === 0) return true;
    if (!this.#room.tryTake(this.#holder, sumOf(events))) return false;
    this.#makeReady(events);
    return true;
  }

  /** What is not behind the position becomes ready; answers that, in order. */
  resolve(upTo: Position): readonly StreamEvent[] {
    const ready: StreamEvent[] = [];
    const left: StreamEvent[] = [];
    for (const event of this.#unresolved) (comparePositions(event, upTo) <= 0 ? ready : left).push(event);
    if (ready.length === 0) return ready;
    this.#unresolved = left;
    const ordered = inOrder(ready);
    this.#makeReady(ordered);
    return ordered;
  }

  /** Forgets what is not resolved; with a position only what is not behind it. */
  forgetUnresolved(upTo?: Position): void {
    const isForgotten = (event: StreamEvent): boolean =>
      upTo === undefined || comparePositions(event, upTo) <= 0;
    const forgotten = this.#unresolved.filter(isForgotten);
    if (forgotten.length === 0) return;
    this.#unresolved = this.#unresolved.filter((event) => !isForgotten(event));
    this.#room.give(this.#holder, sumOf(forgotten));
  }

  /** The next changes for the caller; they count until `handedTaken`. */
  hand(): readonly StreamEvent[] {
    const { batchBytesMax, batchChangesMax } = this.#limits;
    let bytes = 0;
    let end = this.#head;
    while (end < this.#ready.length && end - this.#head < batchChangesMax) {
      const more = bytesOf(this.#ready[end] as StreamEvent);
      if (end > this.#head && bytes + more > batchBytesMax) break;
      bytes += more;
      end += 1;
    }
    const batch = this.#ready.slice(this.#head, end);
    this.#head = end;
    if (!this.hasReady) {
      this.#ready = [];
      this.#head = 0;
    }
    this.#handedBytes = bytes;
    this.#holder.heldSinceMs = this.#nowMs();
    return batch;
  }

  /** The caller has taken what it was handed. */
  handedTaken(): void {
    this.#room.give(this.#holder, this.#handedBytes);
    this.#handedBytes = 0;
    this.#holder.heldSinceMs = this.hasReady ? this.#nowMs() : Infinity;
  }

  clear(): void {
    this.#unresolved = [];
    this.#ready = [];
    this.#head = 0;
    this.#handedBytes = 0;
    this.#room.give(this.#holder, this.#holder.heldBytes);
  }

  #makeReady(events: readonly StreamEvent[]): void {
    if (!this.hasReady && this.#handedBytes === 0) this.#holder.heldSinceMs = this.#nowMs();
    for (const event of events) this.#ready.push(event);
  }
}

function bytesOf({ encoded, key }: StreamEvent): number {
  return EVENT_BYTES + encoded.length + key.length;
}

function sumOf(events: readonly StreamEvent[]): number {
  return events.reduce((sum, event) => sum + bytesOf(event), 0);
}
