import { FairShare } from '@cairn/base';
import {
  CommandOutcome,
  rowCacheKey,
  setDeleteRange,
  VisibleReader,
  VisibleRows,
  versionSpanOf,
  type VisibleRow,
  WriteBatchBuilder,
} from '@cairn/mvcc';

import { failRead } from './damage.js';
import { tombstoneAt } from './evaluate.js';
import type { KvCall, Submitter } from './kv-call.js';
import type { KvEnvironment } from './kv-environment.js';
import type { PendingWrite, PendingWrites } from './pending-writes.js';
import type { PublishWaiters } from './publish-waiters.js';
import type { RangeTime } from './range-time.js';
import type { RangeReservations } from './reservations/range-reservations.js';
import { looksLeft, PageTurns, restOfSpan, resumeKeyAfterCut, ROWS_PER_STEP } from './scan-pages.js';
import type { ServedRange } from './served-range.js';
import { infoOf } from './txn/lock-table.js';
import type { TxnState } from './txn/txn-state.js';
import type { WriteEvaluator } from './write-evaluator.js';

/** Writes that may wait for a range deletion, of all callers and of each; more are refused. */
const HELD_WRITES = new FairShare(16_384);
/** Range deletions that may wait for another, likewise. */
const WAITING = new FairShare(256);
/** Keys one deletion takes out at most before it answers where to go on. */
const KEYS_PER_CHUNK_MAX = 1_000;

/** What range deletions need of their range. */
export interface DeleteRangeParts {
  readonly range: Pick<ServedRange, 'replica' | 'descriptor'>;
  readonly queue: Submitter;
  readonly time: Pick<RangeTime, 'readNow'>;
  readonly pending: Pick<PendingWrites, 'collected'>;
  readonly writes: Pick<WriteEvaluator, 'isFirstOrNew' | 'nextMoment' | 'proposeBatch'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly txn: Pick<TxnState, 'locks'>;
  readonly reservations: Pick<RangeReservations, 'inTheWayOfSpan'>;
}

/**
 * Removes the keys of a span in chunks, each one log entry of exact deletions. While a chunk reads which keys
 * there are, the writes of the range wait, so that the keys it deletes are the keys there are.
 */
export class DeleteRanges {
  readonly #environment: KvEnvironment;
  readonly #parts: DeleteRangeParts;
  /** The deletion that reads; while there is one the writes wait. */
  #reading: KvCall | undefined;
  #waiting: KvCall[] = [];
  #held: KvCall[] = [];
  /** How many of them each caller has. */
  readonly #heldOf = new Map<object, number>();

  constructor(environment: KvEnvironment, parts: DeleteRangeParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  /** While a range deletion reads, writes wait. */
  get isExclusive(): boolean {
    return this.#reading !== undefined;
  }

  add(call: KvCall): void {
    if (!this.#parts.writes.isFirstOrNew(call) || this.#isLocked(call)) return;
    if (this.#reading !== undefined) {
      if (mayWait(this.#waiting, call)) {
        call.detach();
        this.#waiting.push(call);
      } else call.fail('RESOURCE_EXHAUSTED', 'too many range deletions are under way', { retryAfterMs: 50 });
      return;
    }
    this.#reading = call;
    this.#parts.waiters.whenPublished(() => {
      this.#deleteChunk(call).catch((error: unknown) => {
        failRead(this.#environment, call, error);
        if (this.#reading === call) this.#release();
      });
    });
  }

  /** Transactions that hold keys of the span come first (T18). */
  #isLocked(call: KvCall): boolean {
    const { reservations, txn } = this.#parts;
    const { key, endKey } = call.request;
    const end = endKey.length === 0 ? undefined : rowCacheKey(endKey);
    const locked = txn.locks.size === 0 ? [] : txn.locks.currentIn(rowCacheKey(key), end);
    const met = locked.length > 0 ? locked.map(infoOf) : reservations.inTheWayOfSpan(key, endKey);
    if (met.length > 0) call.failLocked(met);
    return met.length > 0;
  }

  /** A write that arrived while a deletion reads. */
  holdWrite(call: KvCall): void {
    const ofCaller = this.#heldOf.get(call.caller) ?? 0;
    if (!HELD_WRITES.allows(ofCaller, 1, this.#held.length)) {
      call.fail('RESOURCE_EXHAUSTED', 'a range deletion is under way', { retryAfterMs: 20 });
      return;
    }
    call.detach();
    this.#heldOf.set(call.caller, ofCaller + 1);
    this.#held.push(call);
  }

  /** Leadership is lost: everybody who waits goes back to the queue and is told in the next turn. */
  abandon(): void {
    this.#release();
  }

  #release(): void {
    this.#reading = undefined;
    this.#heldOf.clear();
    for (const call of this.#held.splice(0)) this.#parts.queue.submit(call);
    for (const call of this.#waiting.splice(0)) this.#parts.queue.submit(call);
  }

  async #deleteChunk(call: KvCall): Promise<void> {
    const { range, queue, time } = this.#parts;
    const { replica, descriptor } = range;
    const { version } = descriptor.epoch;
    const { request } = call;
    const now = time.readNow;
    const isEndInside =
      request.endKey.length > 0 &&
      (descriptor.endKey.length === 0 || Buffer.compare(request.endKey, descriptor.endKey) < 0);
    const span = versionSpanOf(request.key, isEndInside ? request.endKey : descriptor.endKey);
    const sink = new VisibleRows({ keysOnly: true });
    const reader = new VisibleReader({
      readTimestamp: now,
      sink,
      limit: Math.min(request.limit, KEYS_PER_CHUNK_MAX),
      pageBytes: this.#environment.limits.entryBytesMax,
    });
    const iterator = this.#environment.engine.iterate(span);
    const looksMax = this.#environment.limits.versionsPerPageMax;
    const turns = new PageTurns(this.#environment.clock, iterator);
    let resumeKey: Buffer | undefined;
    try {
      while (resumeKey === undefined) {
        const pausing = turns.pause();
        if (pausing !== undefined) await pausing;
        const rows = await iterator.next(ROWS_PER_STEP, looksLeft(iterator, looksMax));
        if (reader.push(rows)) {
          resumeKey = reader.resumeKey();
        } else if (rows.length === 0 && iterator.cutAt === undefined) {
          reader.finish();
          break;
        } else if (iterator.looked >= looksMax) {
          const bounds = { start: request.key, end: request.endKey, reverse: false };
          resumeKey = resumeKeyAfterCut(reader, iterator, bounds);
        }
      }
    } finally {
      await iterator.close();
    }
    if (this.#reading !== call) {
      // Leadership was lost meanwhile, so writes were let through: what was read says nothing any more.
      call.failNotLeader(replica.leaderStoreId);
      return;
    }
    if (replica.isFrozen || range.descriptor.epoch.version !== version) {
      // A split came: its children's keys must not be deleted through this log. The next turn knows what to
      // answer.
      queue.submit(call);
    } else if (call.isAbandoned(this.#environment.clock.nowMs())) {
      call.fail('DEADLINE_EXCEEDED', 'the deadline passed during the range deletion');
    } else if (!this.#isLocked(call)) {
      // The end of a lock may have come to nothing since it was looked at.
      this.#propose(call, sink.rows, resumeKey ?? restOfSpan(request, descriptor));
    }
    this.#release();
  }

  #propose(call: KvCall, rows: readonly VisibleRow[], resumeKey: Buffer | undefined): void {
    const { writes, pending } = this.#parts;
    const builder = new WriteBatchBuilder();
    const moment = writes.nextMoment(false);
    const batch: PendingWrite[] = [];
    for (const row of rows) {
      const version = tombstoneAt(moment);
      const key = rowCacheKey(row.key);
      builder.addPart(row.key, version);
      const write = {
        call: undefined,
        response: undefined,
        key,
        version,
        duplicates: undefined,
        isAcknowledged: false,
      };
      pending.collected(write);
      batch.push(write);
    }
    const outcome = new CommandOutcome();
    outcome.client = call.request.requestId?.client ?? 0;
    outcome.requestSequence = call.request.requestId?.sequence ?? 0;
    outcome.timestamp = moment.timestamp;
    setDeleteRange(outcome, rows.length, resumeKey);
    builder.addOutcome(outcome);
    const response = call.newResponse();
    response.count = rows.length;
    response.resumeKey = resumeKey;
    const command = {
      call,
      response,
      key: undefined,
      version: undefined,
      duplicates: undefined,
      isAcknowledged: false,
    };
    batch.push(command);
    pending.collected(command);
    writes.proposeBatch(builder, batch);
  }
}

function mayWait(waiting: readonly KvCall[], call: KvCall): boolean {
  let ofCaller = 0;
  for (const other of waiting) if (other.caller === call.caller) ofCaller += 1;
  return WAITING.allows(ofCaller, 1, waiting.length);
}
