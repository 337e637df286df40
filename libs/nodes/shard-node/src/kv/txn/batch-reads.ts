import type { Timestamp } from '@cairn/base';
import { rowCacheKey, type VersionRecord } from '@cairn/mvcc';
import type { BatchGetCommand, ReadRow } from '@cairn/wire';

import type { ColdReads, ColdRow } from '../cold-reads.js';
import { readConfirmed } from '../confirmed-view.js';
import { failRead } from '../damage.js';
import type { KvCall, Submitter } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { PendingWrites } from '../pending-writes.js';
import type { PublishWaiters } from '../publish-waiters.js';
import type { RangeTime } from '../range-time.js';
import type { ServedRange } from '../served-range.js';
import { dropRows, newestRow, rowAt, useRows } from '../several-rows.js';
import { readRowOf } from './execute.js';
import type { Lock } from './lock-table.js';
import { isStopped } from './stopped-reads.js';
import type { TxnState } from './txn-state.js';

/** Rows that are read at once, under one confirmation; fewer where those before were large. */
const KEYS_PER_STEP = 256;
/** The same before anything is known of their sizes: a few answers of rows of the default limit. */
const KEYS_OF_FIRST_STEP = 32;
/** Values of one answer; whoever asked for more asks for the rest anew. */
export const BATCH_BYTES_MAX = 32 * 1024 * 1024;

/** What reads of several keys need of their range. */
export interface BatchReadParts {
  readonly range: Pick<ServedRange, 'replica' | 'covers' | 'refusesAsMoved' | 'refusesAsTooOld'>;
  readonly queue: Submitter;
  readonly time: Pick<RangeTime, 'readNow' | 'asksForTheTime'>;
  readonly pending: Pick<PendingWrites, 'acknowledged'>;
  readonly coldReads: Pick<ColdReads, 'newest' | 'at'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly txn: Pick<TxnState, 'locks'>;
}

/** One batch, as far as it was read. */
interface Batch {
  readonly call: KvCall;
  readonly command: BatchGetCommand;
  readonly rows: ReadRow[];
  bytes: number;
}

/**
 * Reads of several keys by transactions: as of a timestamp, or the newest state of each. Each is a point
 * read, under the rules of those.
 */
export class BatchReads {
  readonly #environment: KvEnvironment;
  readonly #parts: BatchReadParts;

  constructor(environment: KvEnvironment, parts: BatchReadParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  add(call: KvCall, command: BatchGetCommand): void {
    if (!command.keys.every((key) => this.#parts.range.covers(key))) {
      call.reply({ type: 'regroup' });
      return;
    }
    const batch = { call, command, rows: [], bytes: 0 };
    if (command.at === 0) this.#step(batch);
    else
      this.#parts.waiters.whenPublished(() => {
        this.#step(batch);
      });
  }

  #step(batch: Batch): void {
    const { call, command } = batch;
    const { replica } = this.#parts.range;
    if (call.isAbandoned(this.#environment.clock.nowMs())) {
      call.fail('DEADLINE_EXCEEDED', 'the deadline passed during the read');
      return;
    }
    const confirmation = command.at === 0 ? 'any-leader' : 'this-leader';
    readConfirmed<readonly ColdRow[]>(replica, this.#environment.clock, confirmation, {
      take: () => this.#take(batch),
      use: (found) => {
        useRows(
          found,
          (rows) => {
            this.#read(batch, rows);
          },
          (error) => {
            failRead(this.#environment, call, error);
          },
        );
      },
      drop: dropRows,
      refused: () => {
        call.failNotLeader(replica.leaderStoreId);
      },
    });
  }

  /** The next rows; undefined when the call is answered, or submitted again later. */
  #take(batch: Batch): readonly ColdRow[] | undefined {
    const { call, command, rows } = batch;
    const { coldReads, queue, range } = this.#parts;
    const { at } = command;
    if (range.refusesAsMoved(call) || (at > 0 && range.refusesAsTooOld(call, at))) return undefined;
    const keys = command.keys.slice(rows.length, rows.length + stepOf(batch));
    if (this.#isLocked(call, keys, at)) return undefined;
    const { readRoom, rowCache } = this.#environment;
    if (!readRoom.admits(call, queue)) return undefined;
    const found = keys.map((key) =>
      at === 0 ? newestRow(key, rowCache, this.#parts) : rowAt(key, at, rowCache, coldReads),
    );
    if (found.some((row) => row instanceof Promise)) readRoom.reading(call);
    return found;
  }

  #isLocked(call: KvCall, keys: readonly Uint8Array[], at: Timestamp): boolean {
    const { queue, txn, waiters } = this.#parts;
    if (txn.locks.size === 0) return false;
    const ignored = call.request.ignoreLocks;
    const met: Lock[] = [];
    for (const userKey of keys) {
      const key = rowCacheKey(userKey);
      const lock = at === 0 ? txn.locks.stopsNewest(key, ignored) : txn.locks.stopsAt(key, at, ignored);
      if (lock !== undefined) met.push(lock);
    }
    return isStopped(call, met, waiters, () => {
      queue.submit(call);
    });
  }

  #read(batch: Batch, found: readonly (VersionRecord | undefined)[]): void {
    const { call, command, rows } = batch;
    const { time } = this.#parts;
    const now = command.at === 0 ? time.readNow : command.at;
    let isFull = false;
    for (const row of found) {
      if (command.at === 0 && row !== undefined && time.asksForTheTime(call, row.expiry)) return;
      const size = row?.value.length ?? 0;
      isFull = rows.length > 0 && batch.bytes + size > BATCH_BYTES_MAX;
      if (isFull) break;
      batch.bytes += size;
      rows.push(readRowOf(row, now));
    }
    this.#environment.readRoom.readAll(call, rows.length, batch.bytes);
    if (isFull || rows.length === command.keys.length) {
      call.reply({ type: 'rows', rows });
      return;
    }
    this.#environment.clock.defer(() => {
      this.#step(batch);
    });
  }
}

/** How many rows are read next: about as many as fit by the sizes of those before, at least one. */
function stepOf({ rows, bytes }: Batch): number {
  if (rows.length === 0) return KEYS_OF_FIRST_STEP;
  const fitting = Math.ceil(((BATCH_BYTES_MAX - bytes) * rows.length) / Math.max(1, bytes));
  return Math.max(1, Math.min(KEYS_PER_STEP, fitting));
}
