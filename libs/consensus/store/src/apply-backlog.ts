import { assert, BoundedBytes } from '@cairn/base';
import type { Entry } from '@cairn/raft';

import type { Replica } from './replica.js';
import type { StoreConfig } from './store-config.js';

/**
 * What is committed in the replicas of a store and that its engine does not hold yet: which replicas have
 * some, and how much it is. Also the moments between two batches of the engine, at which it is exactly at
 * every replica's applied index.
 */
export class ApplyBacklog {
  #list: Replica[] = [];
  /** Payload bytes that are committed and that the engine does not hold yet. */
  readonly #backlog: BoundedBytes;
  /** Replicas whose cores keep what they have committed; see `holds`. */
  readonly #held = new Set<Replica>();
  /** Payload bytes of all entries applied since the store was opened. */
  appliedBytes = 0;
  #isBatchUnderWay = false;
  readonly #betweenBatches: (() => void)[] = [];
  #idleWaiters: (() => void)[] = [];

  constructor({ applyBacklogBytesMax }: Pick<StoreConfig, 'applyBacklogBytesMax'>) {
    const name = 'committed entries that wait for the engine';
    this.#backlog = new BoundedBytes({ name, limit: applyBacklogBytesMax });
  }

  get bytes(): number {
    return this.#backlog.used;
  }

  /** The engine is behind: nothing more is proposed or taken in until it has caught up a little. */
  get isBehind(): boolean {
    return this.#backlog.isFull;
  }

  /**
   * Whether the core of the replica shall keep what it commits: the engine is behind, or the replica applies
   * nothing now. It gets a turn when that is over.
   */
  holds(replica: Replica): boolean {
    if (!this.#backlog.isFull && !replica.isApplyBlocked) return false;
    this.#held.add(replica);
    return true;
  }

  /** There may be room again: the cores of `holds` get a turn. */
  releaseHeld(): void {
    if (this.#held.size === 0 || this.#backlog.isFull) return;
    const held = [...this.#held];
    this.#held.clear();
    for (const replica of held) replica.wake();
  }

  /** What waits for the replica will never be applied: it is gone, or a snapshot is beyond it. */
  forget(replica: Replica): void {
    this.#backlog.resize(replica.applyQueue.bytes, 0);
    replica.applyQueue.clear();
    this.#held.delete(replica);
  }

  /** Committed entries, in log order, right behind those handed in before. */
  enqueue(replica: Replica, entries: readonly Entry[]): void {
    const first = entries[0] as Entry;
    const { rangeId, handedOutIndex } = replica;
    assert(first.index === handedOutIndex + 1, 'committed entries must continue what was handed over', {
      ...{ rangeId, got: first.index, handedOutIndex },
    });
    replica.handedOutIndex = (entries.at(-1) as Entry).index;
    this.#backlog.resize(0, replica.applyQueue.add(entries));
    this.offer(replica);
  }

  /** Puts the replica on the list if it has something, and may apply it. */
  offer(replica: Replica): void {
    if (replica.isInApplyList || replica.isApplyBlocked || replica.applyQueue.length === 0) return;
    replica.isInApplyList = true;
    this.#list.push(replica);
  }

  get hasWork(): boolean {
    return this.#list.length > 0;
  }

  /** Everybody on the list; it is empty then. */
  take(): readonly Replica[] {
    const taken = this.#list;
    this.#list = [];
    return taken;
  }

  /** What was taken and not looked at, from `at` on, comes before what was put on the list since. */
  putBack(taken: readonly Replica[], at: number): void {
    if (at < taken.length) this.#list = [...taken.slice(at), ...this.#list];
  }

  /** The engine holds so many bytes more. */
  applied(bytes: number): void {
    this.appliedBytes += bytes;
    this.#backlog.resize(bytes, 0);
  }

  get isBatchUnderWay(): boolean {
    return this.#isBatchUnderWay;
  }

  beginBatch(): void {
    this.#isBatchUnderWay = true;
  }

  /** Runs those who wait for the moment; not when the store is over, `isOver`: then it may not be one. */
  endBatch(isOver: boolean): void {
    this.#isBatchUnderWay = false;
    this.releaseHeld();
    if (this.#betweenBatches.length > 0 && !isOver) {
      for (const callback of this.#betweenBatches.splice(0)) callback();
    }
    if (this.#idleWaiters.length > 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  /** Runs when no batch is in flight, so that the engine is exactly at every replica's applied index. */
  whenBetweenBatches(callback: () => void): void {
    if (!this.#isBatchUnderWay) callback();
    else this.#betweenBatches.push(callback);
  }

  /** Resolves when no batch is in flight. */
  idle(): Promise<void> {
    if (!this.#isBatchUnderWay) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }
}
