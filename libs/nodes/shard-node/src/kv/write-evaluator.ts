import { NOTHING, rethrowInvariant, timestamp, withItem, type Timestamp } from '@cairn/base';
import { rowCacheKey, type RowCacheKey, type VersionRecord, type WriteBatchBuilder } from '@cairn/mvcc';
import { STAMP_FIELD, type RequestIdentity } from '@cairn/wire';

import { AdmittedRetries } from './admitted-retries.js';
import type { ColdReads } from './cold-reads.js';
import { failRead } from './damage.js';
import { evaluateWrite, needsCurrent, type WriteMoment } from './evaluate.js';
import type { KvCall, Submitter } from './kv-call.js';
import type { KvEnvironment } from './kv-environment.js';
import type { Leadership } from './leadership.js';
import type { PendingWrite, PendingWrites } from './pending-writes.js';
import type { RangeTime } from './range-time.js';
import type { RememberedOutcomes } from './remembered-outcomes.js';
import { respondWithOutcome } from './replay.js';
import { changeOfRequest } from './reservations/changed-keys.js';
import type { RangeReservations } from './reservations/range-reservations.js';
import type { ServedRange } from './served-range.js';
import { infoOf } from './txn/lock-table.js';
import type { TxnState } from './txn/txn-state.js';

/** Looks at a cold row this often before it gives up: the row cache is too small for the traffic. */
const COLD_READS_MAX = 20;

/** Plain writes are no owner's. */
const NOBODY = timestamp(0);

/** Where a sequence has its step: writes of different steps at one timestamp do not replace each other. */
const STEP_SHIFT = 21;
/** Transactions at one timestamp; half of the steps are left to plain writes. */
const STEPS_MAX = 1_024;

/** What writes need of their range. */
export interface WriteParts {
  readonly range: Pick<ServedRange, 'replica'>;
  readonly queue: Submitter;
  readonly time: Pick<RangeTime, 'readNow' | 'asksForTheTime'>;
  readonly leadership: Pick<Leadership, 'since'>;
  readonly outcomes: Pick<RememberedOutcomes, 'window' | 'completeSince'>;
  readonly pending: Pick<PendingWrites, 'find' | 'newest' | 'collected' | 'add' | 'refused'>;
  readonly coldReads: Pick<ColdReads, 'newestForCommand'>;
  readonly txn: TxnState;
  readonly reservations: Pick<RangeReservations, 'size' | 'inTheWayOf'>;
}

/**
 * Turns the single-key writes of a turn into one log entry. Everything is decided here, on the leader: the
 * entry holds only rows to put and outcomes to remember.
 */
export class WriteEvaluator {
  readonly #environment: KvEnvironment;
  readonly #parts: WriteParts;
  /** undefined until there was one. */
  #retries: AdmittedRetries | undefined;
  #batch: readonly PendingWrite[] = NOTHING;
  /** Writes that asked for a fresh timestamp in this turn. */
  #strict: KvCall[] = [];
  #lastTimestamp = 0;
  #sequence = 0;

  constructor(environment: KvEnvironment, parts: WriteParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  /** Evaluates a write, or sets it aside until its row or its timestamp is there. */
  add(call: KvCall): void {
    if (!this.isFirstOrNew(call)) return;
    if (call.request.strict) this.#strict.push(call);
    else this.#evaluate(call);
  }

  /** Whether writes of this turn were evaluated and are not in the log yet. */
  get hasCollected(): boolean {
    return this.#batch.length > 0;
  }

  /** Proposes what the turn collected. */
  flush(): void {
    if (this.#strict.length > 0) this.#fetchForStrict(this.#strict.splice(0));
    this.#propose();
  }

  /**
   * The timestamp and sequence of the next write: above every read served here, unique per write of this
   * leader. The time costs a look at the clock, which only those pay that begin a time to live.
   */
  nextMoment(hasTtl: boolean): WriteMoment {
    const { timestamps } = this.#environment;
    const at: Timestamp = timestamp(timestamps.max + 1);
    if (at === this.#lastTimestamp) {
      this.#sequence += 1;
    } else {
      this.#lastTimestamp = at;
      this.#sequence = 0;
    }
    return {
      timestamp: at,
      sequence: this.#sequence,
      now: this.#parts.time.readNow,
      ttlFrom: hasTtl ? timestamp(Math.max(at, timestamps.extrapolated)) : at,
    };
  }

  /** Whether the timestamp of the next write has room for another step behind it: see `seal`. */
  get hasStepLeft(): boolean {
    const isSame = this.#environment.timestamps.max + 1 === this.#lastTimestamp;
    return !isSame || (this.#sequence + 1) >>> STEP_SHIFT < STEPS_MAX;
  }

  /**
   * The last write was a transaction's: whatever follows at its timestamp is of a later step, so that it
   * replaces no row of it (T5).
   */
  seal(): void {
    this.#sequence = ((this.#sequence >>> STEP_SHIFT) + 1) * 2 ** STEP_SHIFT - 1;
  }

  /**
   * Sees to it that a command takes effect once, however often it is sent and in whatever order its sendings
   * come. Answers whether it still has to be evaluated. A retry was admitted by somebody after its stamp. So
   * a first sending need not be looked for when its stamp is above the beginning of this leadership and above
   * all retries that this leader took for new and has forgotten, and is not among those it remembers.
   */
  isFirstOrNew(call: KvCall): boolean {
    const id = call.request.requestId;
    if (id === undefined) return true;
    const retries = this.#retries;
    const isAlone =
      !id.isRetry &&
      id.stamp >= this.#parts.leadership.since &&
      (retries === undefined || (id.stamp > retries.forgottenUpTo && !retries.has(id.client, id.sequence)));
    return isAlone || this.#isNew(call, id);
  }

  #isNew(call: KvCall, id: RequestIdentity): boolean {
    const underWay = this.#parts.pending.find(id.client, id.sequence, this.#batch);
    if (underWay?.isAcknowledged === true && underWay.response !== undefined) {
      call.respond({ ...underWay.response, sequence: call.request.sequence });
      return false;
    }
    if (underWay !== undefined) {
      underWay.duplicates ??= [];
      underWay.duplicates.push(call);
      return false;
    }
    const outcome = this.#parts.outcomes.window?.lookup(id.client, id.sequence);
    if (outcome !== undefined) {
      respondWithOutcome(call, outcome);
      return false;
    }
    if (this.#parts.outcomes.completeSince > id.stamp) {
      this.#failTooOld(call, id);
      return false;
    }
    if (!id.isRetry) return true;
    this.#retries ??= new AdmittedRetries();
    this.#retries.add(id.client, id.sequence, this.#environment.timestamps.max);
    return true;
  }

  /**
   * What may have happened at the stamp or after is not remembered. Of a first sending it is at least known
   * that it was not applied itself: whoever has sent nothing else may send it with a newer stamp.
   */
  #failTooOld(call: KvCall, id: RequestIdentity): void {
    if (id.isRetry) {
      call.fail('OUTCOME_UNKNOWN', 'the write was sent before, too long ago to say whether it happened');
      return;
    }
    const message = 'not applied: the stamp of the request id is too old to tell whether it is late';
    call.fail('UNAVAILABLE', message, { field: STAMP_FIELD });
  }

  #evaluate(call: KvCall): void {
    const { request } = call;
    const key = rowCacheKey(request.key);
    const { locks } = this.#parts.txn;
    const lock = locks.size === 0 ? undefined : locks.current(key);
    if (lock !== undefined) {
      call.failLocked([infoOf(lock)]);
      return;
    }
    if (this.#isReserved(call)) return;
    let current: VersionRecord | undefined;
    if (needsCurrent(request.op)) {
      current = this.#parts.pending.newest(key, this.#batch) ?? this.#environment.rowCache.get(key);
      if (current === undefined) {
        const { readRoom } = this.#environment;
        if (!readRoom.admits(call, this.#parts.queue)) return;
        const cold = this.#parts.coldReads.newestForCommand(key, request.key);
        if (cold instanceof Promise) {
          readRoom.reading(call);
          this.evaluateAfter(call, cold);
          return;
        }
        readRoom.read(call, cold === undefined ? 0 : cold.value.length);
        current = cold;
      }
      if (current !== undefined && this.#parts.time.asksForTheTime(call, current.expiry)) return;
    }
    this.#decide(call, key, current);
  }

  #isReserved(call: KvCall): boolean {
    const { reservations } = this.#parts;
    if (reservations.size === 0) return false;
    const met = reservations.inTheWayOf([changeOfRequest(call.request)], NOBODY);
    if (met.length > 0) call.failLocked(met);
    return met.length > 0;
  }

  #decide(call: KvCall, key: RowCacheKey, current: VersionRecord | undefined): void {
    const { request } = call;
    const response = call.newResponse();
    const { builder, outcome } = this.#environment.scratch;
    outcome.client = request.requestId?.client ?? 0;
    outcome.requestSequence = request.requestId?.sequence ?? 0;
    const evaluation = evaluateWrite(request, current, this.nextMoment(request.ttlMs > 0), {
      outcome,
      response,
    });
    switch (evaluation.type) {
      case 'write':
        builder.addWrite(outcome, request.key, evaluation.version);
        this.#collect({
          call,
          response,
          key,
          version: evaluation.version,
          duplicates: undefined,
          isAcknowledged: false,
        });
        break;
      case 'outcome':
        builder.addOutcome(outcome);
        this.#collect({
          call,
          response,
          key: undefined,
          version: undefined,
          duplicates: undefined,
          isAcknowledged: false,
        });
        break;
      case 'invalid':
        call.fail(evaluation.code, evaluation.message);
        return;
      case 'wrong-kind':
        call.failWrongKind(evaluation.kind);
        return;
    }
    if (builder.bytes >= this.#environment.limits.entryBytesMax) this.#propose();
  }

  #collect(write: PendingWrite): void {
    this.#batch = withItem(this.#batch, write);
    this.#parts.pending.collected(write);
  }

  /** A command of a transaction was evaluated: what it writes is in the builder of the turn. */
  collectAll(writes: readonly PendingWrite[]): void {
    for (const write of writes) this.#collect(write);
    if (this.#environment.scratch.builder.bytes >= this.#environment.limits.entryBytesMax) this.#propose();
  }

  /** The row that what is evaluated and not visible will leave for the key. */
  newestUnderWay(key: RowCacheKey): VersionRecord | undefined {
    return this.#parts.pending.newest(key, this.#batch);
  }

  /**
   * The row has to be waited for; the command is evaluated in the turn after, against whatever is newest
   * then.
   */
  evaluateAfter(call: KvCall, cold: Promise<unknown>): void {
    cold.then(
      () => {
        call.coldReads += 1;
        if (call.coldReads <= COLD_READS_MAX) {
          this.#parts.queue.submit(call);
          return;
        }
        call.fail('RESOURCE_EXHAUSTED', 'the row cache is too small to evaluate the write', {
          retryAfterMs: 100,
        });
      },
      (error: unknown) => {
        failRead(this.#environment, call, error);
      },
    );
  }

  #fetchForStrict(calls: KvCall[]): void {
    this.#environment.timestamps.fetch().then(
      () => {
        // Now every write here commits above a timestamp issued after these arrived; that is all STRICT asks
        // for.
        for (const call of calls) {
          call.request.strict = false;
          this.#parts.queue.submit(call);
        }
      },
      (error: unknown) => {
        rethrowInvariant(error);
        for (const call of calls) {
          call.fail('UNAVAILABLE', `no timestamp for a strict write: ${String(error)}`, { retryAfterMs: 50 });
        }
      },
    );
  }

  #propose(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = NOTHING;
    this.proposeBatch(this.#environment.scratch.builder, batch);
  }

  /** Puts an entry into the log; on refusal everybody in it is told, and nothing of it remains. */
  proposeBatch(builder: WriteBatchBuilder, batch: readonly PendingWrite[]): void {
    const { range, pending } = this.#parts;
    const { replica } = range;
    const result = replica.propose(builder.finish());
    if (result.type === 'accepted') {
      for (const { call } of batch) {
        if (call?.span !== undefined) {
          call.commitSpan = this.#environment.tracer.startSpan('raft.commit', call.span.context, {
            'cairn.range': replica.rangeId,
            'cairn.index': result.index,
          });
        }
      }
      pending.add(result.index, result.term, batch);
      return;
    }
    pending.refused();
    for (const { effect } of batch) if (effect !== undefined) this.#parts.txn.withdrawn(effect);
    for (const { call, duplicates } of batch) {
      for (const each of call === undefined ? (duplicates ?? []) : [call, ...(duplicates ?? [])]) {
        if (result.reason === 'too-many-uncommitted') {
          each.fail('RESOURCE_EXHAUSTED', 'the range has too many writes under way', { retryAfterMs: 20 });
        } else {
          each.failNotLeader(replica.leaderStoreId);
        }
      }
    }
  }
}
