import { NOTHING, timestamp } from '@cairn/base';
import { rowCacheKey, type VersionRecord } from '@cairn/mvcc';
import {
  LockPolicy,
  NO_READ_ROW,
  type ReservationCommand,
  type ReserveCommand,
  type ReservedRow,
  type WaitsFor,
} from '@cairn/wire';

import type { ColdReads, ColdRow } from '../cold-reads.js';
import { readConfirmed } from '../confirmed-view.js';
import { failRead } from '../damage.js';
import type { KvCall, Submitter } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { PendingWrites } from '../pending-writes.js';
import type { PublishWaiters } from '../publish-waiters.js';
import type { RangeTime } from '../range-time.js';
import { TIMEOUT_MS_MAX } from '../request-checks.js';
import type { ServedRange } from '../served-range.js';
import { dropRows, newestRow, useRows } from '../several-rows.js';
import { BATCH_BYTES_MAX } from '../txn/batch-reads.js';
import { readRowOf } from '../txn/execute.js';
import { infoOf, type Lock } from '../txn/lock-table.js';
import { isStopped } from '../txn/stopped-reads.js';
import type { TxnState } from '../txn/txn-state.js';
import type { RangeReservations } from './range-reservations.js';

/** After a command that found no room. */
const FULL_RETRY_MS = 100;

/** What commands to reserve need of their range. */
export interface ReserveCallParts {
  readonly range: Pick<ServedRange, 'replica' | 'covers' | 'refusesAsMoved'>;
  readonly queue: Submitter;
  readonly time: Pick<RangeTime, 'readNow' | 'asksForTheTime'>;
  readonly pending: Pick<PendingWrites, 'acknowledged'>;
  readonly coldReads: Pick<ColdReads, 'newest'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly txn: Pick<TxnState, 'locks'>;
  readonly reservations: RangeReservations;
}

/** What a command came to, of which the rows are still to be read. */
interface Reserving {
  readonly call: KvCall;
  /** One for each row of the answer. */
  readonly isReserved: readonly boolean[];
  /** Those that are the owner's. */
  readonly keys: readonly Uint8Array[];
  readonly waitsFor: WaitsFor | undefined;
}

/**
 * Commands to reserve keys, at a leader that serves. Locks of the log come first; then keys are taken, or
 * waited for; then what was evaluated before becomes visible and the leadership is confirmed, and the rows
 * are read. As nobody else can write what is reserved, they stay the newest ones.
 */
export class ReserveCalls {
  readonly #environment: KvEnvironment;
  readonly #parts: ReserveCallParts;

  constructor(environment: KvEnvironment, parts: ReserveCallParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  /** A command, new or after a wait. */
  add(call: KvCall): void {
    const command = call.command as ReservationCommand;
    const { range, reservations } = this.#parts;
    if (!command.keys.every((key) => range.covers(key))) {
      call.reply({ type: 'regroup' });
    } else if (command.type === 'release') {
      reservations.release(command.owner, command.keys.map(rowCacheKey));
      call.reply({ type: 'released' });
    } else if (!this.#isLocked(call, command)) {
      this.#reserve(call, command);
    }
  }

  /** Whoever has to look into a lock first keeps what it has meanwhile. */
  #isLocked(call: KvCall, command: ReserveCommand): boolean {
    const { reservations, txn } = this.#parts;
    if (txn.locks.size === 0) return false;
    const met: Lock[] = [];
    for (const key of command.keys) {
      const lock = txn.locks.current(rowCacheKey(key));
      if (lock !== undefined) met.push(lock);
    }
    if (met.length === 0) return false;
    reservations.postpone(command);
    call.failLocked(met.map(infoOf));
    return true;
  }

  #reserve(call: KvCall, command: ReserveCommand): void {
    const arrivedMs = call.deadlineMs - Math.min(call.request.timeoutMs, TIMEOUT_MS_MAX);
    const untilMs = Math.min(arrivedMs + command.waitMs, call.deadlineMs);
    const result = this.#parts.reservations.reserve(call, command, untilMs);
    switch (result.type) {
      case 'held':
        return;
      case 'full':
        call.fail('RESOURCE_EXHAUSTED', `the node has too many ${result.what} of locked keys`, {
          retryAfterMs: FULL_RETRY_MS,
        });
        return;
      case 'reserved': {
        const { isReserved } = result;
        const keys = command.keys.filter((_key, at) => isReserved[at]);
        this.#readLater({ call, isReserved, keys, waitsFor: undefined });
        return;
      }
      case 'waits': {
        if (command.policy === LockPolicy.wait) this.#environment.reservations.timedOut += 1;
        const keys = command.keys.slice(0, result.kept);
        const waitsFor = { key: result.key, owners: result.owners };
        this.#readLater({ call, isReserved: keys.map(() => true), keys, waitsFor });
      }
    }
  }

  #readLater(reserving: Reserving): void {
    if (reserving.keys.length === 0) {
      this.#reply(reserving, NOTHING);
      return;
    }
    this.#parts.waiters.whenPublished(() => {
      this.#read(reserving);
    });
  }

  #read(reserving: Reserving): void {
    const { call } = reserving;
    const { replica } = this.#parts.range;
    readConfirmed<readonly ColdRow[]>(replica, this.#environment.clock, 'this-leader', {
      take: () => this.#take(reserving),
      use: (found) => {
        useRows(
          found,
          (rows) => {
            this.#answer(reserving, rows);
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

  /** undefined when the call is answered, or comes again later. */
  #take(reserving: Reserving): readonly ColdRow[] | undefined {
    const { call, keys } = reserving;
    const { queue, range, txn, waiters } = this.#parts;
    if (range.refusesAsMoved(call)) return undefined;
    // The end of a lock that was there when the key was taken may have come to nothing.
    const met: Lock[] = [];
    for (const userKey of txn.locks.size === 0 ? [] : keys) {
      const lock = txn.locks.stopsNewest(rowCacheKey(userKey), NOTHING);
      if (lock !== undefined) met.push(lock);
    }
    const again = (): void => {
      this.#read(reserving);
    };
    if (isStopped(call, met, waiters, again) || !this.#environment.readRoom.admits(call, queue)) {
      return undefined;
    }
    const { rowCache } = this.#environment;
    const found = keys.map((key) => newestRow(key, rowCache, this.#parts));
    if (found.some((row) => row instanceof Promise)) this.#environment.readRoom.reading(call);
    return found;
  }

  #answer(reserving: Reserving, found: readonly (VersionRecord | undefined)[]): void {
    const { call } = reserving;
    const { time } = this.#parts;
    let bytes = 0;
    for (const row of found) {
      if (row !== undefined && time.asksForTheTime(call, row.expiry)) return;
      bytes += row?.value.length ?? 0;
    }
    if (bytes > BATCH_BYTES_MAX) {
      const message = `the rows have more than ${BATCH_BYTES_MAX} bytes: lock fewer keys at once`;
      call.fail('INVALID_ARGUMENT', message);
      return;
    }
    this.#environment.readRoom.readAll(call, found.length, bytes);
    const now = time.readNow;
    this.#reply(
      reserving,
      found.map((row) => ({
        ...{ isReserved: true, row: readRowOf(row, now), newest: row?.timestamp ?? timestamp(0) },
      })),
    );
  }

  /** `rows`: of what is reserved. */
  #reply({ call, isReserved, waitsFor }: Reserving, rows: readonly ReservedRow[]): void {
    let at = 0;
    const all = isReserved.map((is): ReservedRow => {
      const row = is ? rows[at++] : undefined;
      return row ?? { isReserved: false, row: NO_READ_ROW, newest: timestamp(0) };
    });
    call.reply({ type: 'reserved', rows: all, waitsFor });
  }
}
