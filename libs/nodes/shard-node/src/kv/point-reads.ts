import { rethrowInvariant, RowKind, type Timestamp } from '@cairn/base';
import {
  encodeVersionToken,
  expiryToUnixMs,
  isVersionLiveAt,
  rowCacheKey,
  type RowCacheKey,
  type VersionRecord,
} from '@cairn/mvcc';
import { COPIED_VALUE_BYTES_MAX, ReadConsistency } from '@cairn/wire';

import type { ColdReads, ColdRow } from './cold-reads.js';
import { readConfirmed } from './confirmed-view.js';
import { failRead } from './damage.js';
import type { KvCall, Submitter } from './kv-call.js';
import type { KvEnvironment } from './kv-environment.js';
import type { PendingWrites } from './pending-writes.js';
import type { PublishWaiters } from './publish-waiters.js';
import type { RangeTime } from './range-time.js';
import type { ServedRange } from './served-range.js';
import { isStopped } from './txn/stopped-reads.js';
import type { TxnState } from './txn/txn-state.js';

/** A read whose row is known already, or is being read from a view of the engine that exists already. */
interface StartedRead {
  readonly call: KvCall;
  readonly row: VersionRecord | undefined;
  readonly cold: Promise<VersionRecord | undefined> | undefined;
}

/** What point reads need of their range. */
export interface PointReadParts {
  readonly range: Pick<ServedRange, 'replica' | 'refusesAsMoved' | 'refusesAsTooOld'>;
  readonly queue: Submitter;
  readonly time: Pick<RangeTime, 'readNow' | 'asksForTheTime'>;
  readonly pending: Pick<PendingWrites, 'acknowledged'>;
  readonly coldReads: Pick<ColdReads, 'newest' | 'at'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly txn: Pick<TxnState, 'locks'>;
}

/**
 * Serves point reads. What makes them linearizable is the order that `readConfirmed` keeps, once for the
 * whole turn: without a lease one round of heartbeats confirms all reads of the turn.
 *
 * Timeline: docs/timelines/read.md
 */
export class PointReads {
  readonly #environment: KvEnvironment;
  readonly #parts: PointReadParts;
  #newest: KvCall[] = [];

  constructor(environment: KvEnvironment, parts: PointReadParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  /** A linearizable read or one at a timestamp, on the leader. */
  add(call: KvCall): void {
    if (call.request.consistency === ReadConsistency.timestamp) this.#addAtTimestamp(call);
    else this.#newest.push(call);
  }

  /** Whatever this replica has applied. */
  addStale(call: KvCall): void {
    const read = this.#start(call);
    if (read !== undefined) this.#finish(read);
  }

  /** Serves the linearizable reads of the turn. */
  flush(): void {
    if (this.#newest.length === 0) return;
    const calls = this.#newest;
    this.#newest = [];
    const { replica } = this.#parts.range;
    readConfirmed<readonly StartedRead[]>(replica, this.#environment.clock, 'any-leader', {
      serve: () => {
        for (const call of calls) this.#serve(call);
      },
      take: () => this.#startAll(calls),
      use: (started) => {
        for (const read of started) this.#finish(read);
      },
      drop: (started) => {
        for (const read of started) forget(read);
      },
      refused: () => {
        for (const call of calls) call.failNotLeader(replica.leaderStoreId);
      },
    });
  }

  /** A range that was cut or closed while a round was under way has its keys elsewhere, or nowhere here. */
  #startAll(calls: readonly KvCall[]): StartedRead[] {
    const started: StartedRead[] = [];
    for (const call of calls) {
      if (this.#parts.range.refusesAsMoved(call) || this.#isLocked(call)) continue;
      const read = this.#start(call);
      if (read !== undefined) started.push(read);
    }
    return started;
  }

  /** Under a lease: a row that the cache has is written into the answer's frame right from its memory. */
  #serve(call: KvCall): void {
    if (this.#parts.range.refusesAsMoved(call) || this.#isLocked(call)) return;
    const { key } = call.request;
    const row = this.#environment.rowCache.view(key);
    if (row === undefined) this.#serveUncached(call, rowCacheKey(key));
    else if (row.value.length <= COPIED_VALUE_BYTES_MAX) this.#respond(call, row);
    else this.#respond(call, { ...row, value: Buffer.from(row.value) });
  }

  /** Asked before the cache, which has what is committed only. */
  #isLocked(call: KvCall): boolean {
    const { queue, txn, waiters } = this.#parts;
    if (txn.locks.size === 0) return false;
    const { ignoreLocks, key } = call.request;
    const lock = txn.locks.stopsNewest(rowCacheKey(key), ignoreLocks);
    return (
      lock !== undefined &&
      isStopped(call, [lock], waiters, () => {
        queue.submit(call);
      })
    );
  }

  #isLockedAt(call: KvCall, at: Timestamp): boolean {
    const { txn, waiters } = this.#parts;
    if (txn.locks.size === 0) return false;
    const { ignoreLocks, key } = call.request;
    const lock = txn.locks.stopsAt(rowCacheKey(key), at, ignoreLocks);
    return (
      lock !== undefined &&
      isStopped(call, [lock], waiters, () => {
        this.#readAt(call);
      })
    );
  }

  #serveUncached(call: KvCall, key: RowCacheKey): void {
    const read = this.#startUncached(call, key);
    if (read !== undefined) this.#finish(read);
  }

  /** undefined: the call waits until there is room for its row, and is submitted again then. */
  #start(call: KvCall): StartedRead | undefined {
    const key = rowCacheKey(call.request.key);
    const row = this.#environment.rowCache.get(key);
    return row === undefined ? this.#startUncached(call, key) : { call, row, cold: undefined };
  }

  #startUncached(call: KvCall, key: RowCacheKey): StartedRead | undefined {
    // The engine may not hold an acknowledged row yet, and the cache may have dropped it.
    const row = this.#parts.pending.acknowledged(key);
    if (row !== undefined) return { call, row, cold: undefined };
    if (!this.#environment.readRoom.admits(call, this.#parts.queue)) return undefined;
    return this.#startedWith(call, this.#parts.coldReads.newest(key, call.request.key));
  }

  #startedWith(call: KvCall, found: ColdRow): StartedRead {
    const { readRoom } = this.#environment;
    if (found instanceof Promise) {
      readRoom.reading(call);
      return { call, row: undefined, cold: found };
    }
    readRoom.read(call, valueBytesOf(found));
    return { call, row: found, cold: undefined };
  }

  #finish(read: StartedRead): void {
    const { call, row, cold } = read;
    if (cold === undefined) this.#respond(call, row);
    else this.#finishCold(call, cold, undefined);
  }

  /** Answers as of now. A fresh timestamp judges a row that may have expired since this store heard one. */
  #respond(call: KvCall, row: VersionRecord | undefined): void {
    if (row !== undefined && this.#parts.time.asksForTheTime(call, row.expiry)) return;
    respondRow(call, row, this.#parts.time.readNow);
  }

  #finishCold(call: KvCall, cold: Promise<VersionRecord | undefined>, at: Timestamp | undefined): void {
    cold.then(
      (row) => {
        this.#environment.readRoom.read(call, valueBytesOf(row));
        if (at === undefined) this.#respond(call, row);
        else respondRow(call, row, at);
      },
      (error: unknown) => {
        failRead(this.#environment, call, error);
      },
    );
  }

  /**
   * A snapshot read: no later write may commit at or below its timestamp, and those under way that might have
   * must be visible first.
   */
  #addAtTimestamp(call: KvCall): void {
    this.#parts.waiters.whenPublished(() => {
      this.#readAt(call);
    });
  }

  #readAt(call: KvCall): void {
    const { replica } = this.#parts.range;
    const at = call.request.readTimestamp;
    readConfirmed<StartedRead>(replica, this.#environment.clock, 'this-leader', {
      take: () => this.#startAt(call, at),
      use: ({ row, cold }) => {
        if (cold === undefined) respondRow(call, row, at);
        else this.#finishCold(call, cold, at);
      },
      drop: forget,
      refused: () => {
        call.failNotLeader(replica.leaderStoreId);
      },
    });
  }

  #startAt(call: KvCall, at: Timestamp): StartedRead | undefined {
    if (this.#parts.range.refusesAsMoved(call) || this.#parts.range.refusesAsTooOld(call)) return undefined;
    if (this.#isLockedAt(call, at)) return undefined;
    const cached = this.#environment.rowCache.get(rowCacheKey(call.request.key));
    if (cached !== undefined && cached.timestamp <= at) return { call, row: cached, cold: undefined };
    if (!this.#environment.readRoom.admits(call, this.#parts.queue)) return undefined;
    return this.#startedWith(call, this.#parts.coldReads.at(call.request.key, at));
  }
}

/** Another view takes the place of this one: whether the engine could read it does not matter any more. */
function forget({ cold }: StartedRead): void {
  cold?.catch(rethrowInvariant);
}

function valueBytesOf(row: VersionRecord | undefined): number {
  return row === undefined ? 0 : row.value.length;
}

function respondRow(call: KvCall, row: VersionRecord | undefined, readNow: Timestamp): void {
  const response = call.newResponse();
  if (row !== undefined && isVersionLiveAt(row, readNow)) {
    if (row.kind !== RowKind.bytes) {
      call.failWrongKind(row.kind);
      return;
    }
    response.found = true;
    response.value = row.value;
    response.version = encodeVersionToken(row.timestamp, row.sequence);
    response.timestamp = row.timestamp;
    response.expiresUnixMs = expiryToUnixMs(row.expiry);
  }
  call.respond(response);
}
