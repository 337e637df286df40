import { timestamp, type LogIndex, type Timestamp } from '@cairn/base';
import type { Entry } from '@cairn/raft';
import type { ReplicaHandle } from '@cairn/store';

import type { Leadership } from '../leadership.js';
import type { RangeTime } from '../range-time.js';
import { ChangeRing } from './change-ring.js';
import type { RingOwner, StoreChanges } from './store-changes.js';

export interface LiveRingParts {
  readonly range: { readonly replica: Pick<ReplicaHandle, 'appliedIndex'> };
  readonly time: Pick<RangeTime, 'appliedTimestamp'>;
  readonly leadership: Pick<Leadership, 'since'>;
}

/** The ring of one range: there is one while it leads and is asked. */
export class LiveRing implements RingOwner {
  readonly #store: StoreChanges;
  readonly #parts: LiveRingParts;
  #ring: ChangeRing | undefined;
  #askedMs = 0;
  #appliedIndex = 0 as LogIndex;
  #visibleIndex = 0 as LogIndex;

  constructor(store: StoreChanges, parts: LiveRingParts) {
    this.#store = store;
    this.#parts = parts;
  }

  /** The engine shows everything up to here. */
  get visibleIndex(): LogIndex {
    const { appliedIndex } = this.#parts.range.replica;
    return appliedIndex > this.#visibleIndex ? appliedIndex : this.#visibleIndex;
  }

  /** An entry was applied; `newest`: of its newest version, 0 = it has none. */
  applied({ index, payload }: Pick<Entry, 'index' | 'payload'>, newest: Timestamp): void {
    this.#appliedIndex = index;
    if (newest > 0) this.#ring?.push(index, payload, newest);
  }

  published(index: LogIndex): void {
    this.#visibleIndex = index;
  }

  /** Somebody asks: it begins if it is not there yet. Only of a leader that serves. */
  ask(nowMs: number): ChangeRing {
    this.#askedMs = nowMs;
    if (this.#ring !== undefined) return this.#ring;
    // What is applied and not visible yet was never in it: whoever reads the engine waits for that.
    const { visibleIndex } = this;
    const lowWater = this.#appliedIndex > visibleIndex ? this.#appliedIndex : visibleIndex;
    // What was applied before this process began, or came in a snapshot, was written under earlier leaders.
    const newest = timestamp(Math.max(this.#parts.time.appliedTimestamp, this.#parts.leadership.since));
    this.#ring = new ChangeRing(this.#store.budget, lowWater, newest);
    this.#store.begun(this);
    return this.#ring;
  }

  sweep(sinceMs: number): boolean {
    if (this.#ring !== undefined && this.#askedMs < sinceMs) this.#close();
    return this.#ring !== undefined;
  }

  /** The leadership is lost, or everything is replaced. */
  drop(): void {
    if (this.#ring === undefined) return;
    this.#close();
    this.#store.ended(this);
  }

  #close(): void {
    this.#ring?.close();
    this.#ring = undefined;
  }
}
