import { rethrowInvariant } from '@cairn/base';
import { asBuffer, CommandOutcome, OutcomeKind, TRANSACTION_DETAIL_BYTES_MAX } from '@cairn/mvcc';
import { encodeTxnReply, type ExecuteCommand, type TxnReply } from '@cairn/wire';

import type { WriteMoment } from '../evaluate.js';
import type { KvCall } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { PendingWrite, PendingWrites } from '../pending-writes.js';
import type { RangeTime } from '../range-time.js';
import { changesOfExecute } from '../reservations/changed-keys.js';
import type { RangeReservations } from '../reservations/range-reservations.js';
import type { ServedRange } from '../served-range.js';
import type { WriteEvaluator } from '../write-evaluator.js';
import { judgeExecute, mayWrite, type Execution } from './execute.js';
import { keysOf } from './keys-of.js';
import { infoOf } from './lock-table.js';
import { TxnView, type TxnViewParts } from './txn-view.js';
import type { WrittenRow } from './verdict.js';

/** What one-range transactions need of their range. */
export interface ExecuteParts extends TxnViewParts {
  readonly range: Pick<ServedRange, 'readableSince' | 'replica' | 'covers'>;
  readonly time: Pick<RangeTime, 'readNow' | 'asksForTheTime' | 'fetchFor'>;
  readonly pending: Pick<PendingWrites, 'isEmpty'>;
  readonly reservations: Pick<RangeReservations, 'size' | 'inTheWayOf' | 'endedBy'>;
  readonly writes: Pick<
    WriteEvaluator,
    | 'newestUnderWay'
    | 'collectAll'
    | 'evaluateAfter'
    | 'isFirstOrNew'
    | 'nextMoment'
    | 'hasCollected'
    | 'hasStepLeft'
    | 'seal'
  >;
}

/**
 * Transactions whose keys are all in this range (T4): read, validated and committed in one turn, at a
 * derived timestamp that nothing else of the range has afterwards (T5). A timestamp is fetched after each
 * arrived, one for all of a turn: whoever reads at a later one sees it.
 */
export class Executes {
  readonly #environment: KvEnvironment;
  readonly #parts: ExecuteParts;
  /** Those that wait for a timestamp from the end of the turn on. */
  #arrived: KvCall[] = [];

  constructor(environment: KvEnvironment, parts: ExecuteParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  add(call: KvCall): void {
    const { range, writes } = this.#parts;
    if (!writes.isFirstOrNew(call)) return;
    const command = call.command as ExecuteCommand;
    if (!keysOf(command).every((key) => range.covers(key))) {
      call.reply({ type: 'regroup' });
      return;
    }
    if (!call.isFresh || !writes.hasStepLeft) {
      this.#arrived.push(call);
      return;
    }
    if (this.#isReserved(call, command)) return;
    const view = new TxnView(this.#environment, this.#parts, call);
    // Its own timestamp judges expiries: whoever reads at it sees the same.
    const moment = writes.nextMoment(true);
    const execution = judgeExecute(command, view, { ...moment, now: moment.timestamp });
    this.#settle(call, execution, { view, moment });
  }

  #isReserved(call: KvCall, command: ExecuteCommand): boolean {
    const { reservations } = this.#parts;
    if (reservations.size === 0) return false;
    const met = reservations.inTheWayOf(changesOfExecute(command), command.owner);
    if (met.length > 0) call.failLocked(met);
    return met.length > 0;
  }

  #settle(
    call: KvCall,
    execution: Execution,
    { view, moment }: { readonly view: TxnView; readonly moment: WriteMoment },
  ): void {
    switch (execution.type) {
      case 'executed':
        this.#executed(call, execution, moment);
        return;
      case 'reply':
        // A sending that is late must not find what this leader alone has forgotten.
        if (execution.reply.type === 'tooOld') this.#write(call, execution.reply, { rows: [], moment });
        else call.reply(execution.reply);
        return;
      case 'locked':
        call.failLocked(execution.locks.map(infoOf));
        return;
      case 'read':
        if (!view.isQueued) this.#parts.writes.evaluateAfter(call, Promise.all(view.reads));
        return;
      case 'time':
        this.#parts.time.fetchFor(call);
        return;
      case 'wrong-kind':
        call.failWrongKind(execution.kind);
        return;
      case 'invalid':
        call.fail('FAILED_PRECONDITION', execution.message);
    }
  }

  /**
   * What only reads needs no entry while nothing is under way and the lease is held: what it saw is
   * committed.
   */
  #executed(
    call: KvCall,
    { reply, rows }: Extract<Execution, { type: 'executed' }>,
    moment: WriteMoment,
  ): void {
    const { pending, range, writes } = this.#parts;
    const isQuiet = pending.isEmpty && !writes.hasCollected;
    if (isQuiet && !mayWrite(call.command as ExecuteCommand)) {
      if (range.replica.hasLease(this.#environment.clock.nowMs())) {
        call.reply(reply);
        return;
      }
    }
    this.#write(call, reply, { rows, moment });
    if (rows.length > 0) writes.seal();
  }

  #write(
    call: KvCall,
    reply: TxnReply,
    { rows, moment }: { readonly rows: readonly WrittenRow[]; readonly moment: WriteMoment },
  ): void {
    const { builder } = this.#environment.scratch;
    const { owner, start } = call.command as ExecuteCommand;
    const writes: PendingWrite[] = [];
    for (const { userKey, key, version } of rows) {
      builder.addPart(userKey, version, start);
      writes.push({
        ...{ call: undefined, response: undefined, key, version },
        ...{ duplicates: undefined, isAcknowledged: false },
      });
    }
    const written = rows.map(({ key }) => key);
    const ended = this.#parts.reservations.endedBy(owner, written);
    const response = call.newReply(reply);
    builder.addOutcome(outcomeOf(call, { reply, encoded: response.value }, moment));
    writes.push({
      ...{ call, response, key: undefined, version: undefined, ended },
      ...{ duplicates: undefined, isAcknowledged: false },
    });
    this.#parts.writes.collectAll(writes);
  }

  /** Fetches for those that arrived in this turn. */
  flush(): void {
    if (this.#arrived.length === 0) return;
    const calls = this.#arrived.splice(0);
    this.#environment.timestamps.fetch().then(
      () => {
        for (const call of calls) {
          call.isFresh = true;
          this.#parts.queue.submit(call);
        }
      },
      (error: unknown) => {
        rethrowInvariant(error);
        for (const call of calls) {
          call.fail('UNAVAILABLE', `no timestamp for a transaction: ${String(error)}`, { retryAfterMs: 50 });
        }
      },
    );
  }
}

/** What a retry is answered with: the same, unless that is too long to be kept. */
function outcomeOf(
  { request: { requestId } }: KvCall,
  { reply, encoded }: { readonly reply: TxnReply; readonly encoded: Uint8Array | undefined },
  moment: WriteMoment,
): CommandOutcome {
  const outcome = new CommandOutcome();
  outcome.kind = OutcomeKind.transaction;
  outcome.timestamp = moment.timestamp;
  outcome.sequence = moment.sequence;
  if (requestId === undefined || encoded === undefined) return outcome;
  outcome.client = requestId.client;
  outcome.requestSequence = requestId.sequence;
  const isShort = encoded.length <= TRANSACTION_DETAIL_BYTES_MAX || reply.type !== 'executed';
  outcome.detail = asBuffer(isShort ? encoded : encodeTxnReply({ ...reply, results: [], isForgotten: true }));
  return outcome;
}
