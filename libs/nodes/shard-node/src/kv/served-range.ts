import { assert, timestamp, type RangeDescriptor, type Timestamp } from '@cairn/base';
import type { ReplicaHandle } from '@cairn/store';

import type { KvCall } from './kv-call.js';
import type { KvEnvironment } from './kv-environment.js';
import { utcText } from './utc-text.js';

/** After a refused stale read: the next replica is asked nearly at once. */
const STALE_RETRY_MS = 5;

/**
 * What one machine serves: which keys, which versions of them, and through which replica. Reads ask here,
 * where they take their view, whether that is still what they were sent for.
 */
export class ServedRange {
  readonly #environment: Pick<KvEnvironment, 'covering' | 'gcSafePoint'>;
  #replica: ReplicaHandle | undefined;
  #descriptor: RangeDescriptor;
  #isClosed = false;
  #purgedBelow: Timestamp;

  constructor(
    environment: Pick<KvEnvironment, 'covering' | 'gcSafePoint'>,
    descriptor: RangeDescriptor,
    purgedBelow: Timestamp,
  ) {
    this.#environment = environment;
    this.#descriptor = descriptor;
    this.#purgedBelow = purgedBelow;
  }

  attach(replica: ReplicaHandle): void {
    this.#replica = replica;
  }

  get replica(): ReplicaHandle {
    assert(this.#replica !== undefined, 'the machine is not attached to its replica yet');
    return this.#replica;
  }

  get descriptor(): RangeDescriptor {
    return this.#descriptor;
  }

  descriptorChanged(descriptor: RangeDescriptor): void {
    this.#descriptor = descriptor;
  }

  /** The replica is gone from this store; nothing will be confirmed or visible any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
  }

  /**
   * The oldest timestamp that may be read at, and the oldest start of transactions that are served (T15).
   * Only ever rises here; another replica may serve more.
   */
  get readableSince(): Timestamp {
    return timestamp(Math.max(this.#purgedBelow, this.#environment.gcSafePoint()));
  }

  /** Snapshots below this are gone from this range: the safe point of its last collection. */
  get purgedBelow(): Timestamp {
    return this.#purgedBelow;
  }

  /** Old versions below `safePoint` are being removed. */
  raiseReadableSince(safePoint: Timestamp): void {
    if (safePoint > this.#purgedBelow) this.#purgedBelow = safePoint;
  }

  covers(key: Uint8Array): boolean {
    const { startKey, endKey } = this.#descriptor;
    return (
      (startKey.length === 0 || Buffer.compare(key, startKey) >= 0) &&
      (endKey.length === 0 || Buffer.compare(key, endKey) < 0)
    );
  }

  /** The caller meant another span: it is told what the range is now and, after a split, who has its key. */
  failEpoch(call: KvCall): void {
    call.failEpoch(this.#descriptor, this.#elsewhere(call.request.key));
  }

  /** After a split, the half that has the key. */
  #elsewhere(key: Uint8Array): RangeDescriptor[] {
    if (this.covers(key)) return [];
    const descriptor = this.#environment.covering(key);
    return descriptor === undefined ? [] : [descriptor];
  }

  /**
   * Refuses a read when the range was closed or cut since the call was looked at: its keys are elsewhere now,
   * or some are. Asked where the read takes its view.
   */
  refusesAsMoved(call: KvCall): boolean {
    if (this.#isClosed) call.failNotLeader(this.replica.leaderStoreId);
    else if (call.request.epochVersion !== this.#descriptor.epoch.version) this.failEpoch(call);
    else return false;
    return true;
  }

  /**
   * Refuses a read at a timestamp whose versions may be gone. Asked where the read takes its view, not
   * before.
   */
  refusesAsTooOld(call: KvCall, readTimestamp = call.request.readTimestamp): boolean {
    const { readableSince } = this;
    if (readTimestamp >= readableSince) return false;
    const oldest = `${utcText(readableSince)} (timestamp ${readableSince})`;
    call.fail(
      'FAILED_PRECONDITION',
      `the snapshot is too old: the oldest time that can still be read at is ${oldest}`,
    );
    return true;
  }

  /** Refuses a stale read of a replica that has no state worth showing; another replica is to be asked. */
  refusesAsStale(call: KvCall): boolean {
    const { staleRefusal } = this.replica;
    if (staleRefusal === undefined) return false;
    call.fail('UNAVAILABLE', `this replica serves no stale reads: ${staleRefusal}`, {
      retryAfterMs: STALE_RETRY_MS,
    });
    return true;
  }
}
