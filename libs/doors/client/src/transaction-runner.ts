import { CairnError } from '@cairn/base';
import { sleep, type Clock, type Rng } from '@cairn/ports';
import { backoffMs, RESTART_BACKOFF, type RetryBudget } from './backoff.js';
import type { Dispatcher, DispatchTiming, KeepAlive } from './dispatcher.js';
import type { ClientStats, ScanOptions } from './options.js';
import type { Row } from './entry.js';
import { Reserver, type Lock } from './reserver.js';
import { SnapshotReader } from './snapshot-reader.js';
import { Transaction } from './transaction.js';
import { TransactionState } from './transaction-state.js';
import { Isolation, type ReserveResponse } from './wire-binding.js';

const OVERHEAD_BYTES = 64;

export interface TransactionContext {
  readonly dispatcher: Pick<Dispatcher, 'start' | 'sizes'>;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly keepAlive: KeepAlive;
  readonly stats: ClientStats;
  /** Of all transactions of the client: what runs again must stay in proportion to what succeeds. */
  readonly budget: RetryBudget;
  scan(options: ScanOptions): AsyncIterable<Row>;
}

/** Options with nothing left out. */
export interface TransactionPlan {
  readonly isolation: Isolation;
  readonly timeoutMs: number;
  readonly attemptsMax: number;
  /** Also aborted when the client is closed. */
  readonly signal: AbortSignal;
  readonly traceparent: string | undefined;
}

/**
 * Runs the closure and commits what it did; again from the beginning while others come in between, until it
 * has committed, failed for another reason, or may not be tried again. Rejects with what the closure throws,
 * as it is; then, and with every error but OUTCOME_UNKNOWN, nothing of the transaction has happened.
 */
export async function runTransaction<Result>(
  context: TransactionContext,
  work: (transaction: Transaction) => Promise<Result> | Result,
  plan: TransactionPlan,
): Promise<Result> {
  const reserver = new Reserver(context.dispatcher);
  try {
    return await runAttempts(context, work, plan, reserver);
  } finally {
    reserver.release();
  }
}

async function runAttempts<Result>(
  context: TransactionContext,
  work: (transaction: Transaction) => Promise<Result> | Result,
  plan: TransactionPlan,
  reserver: Reserver,
): Promise<Result> {
  const { clock, rng, budget, stats } = context;
  const deadlineMs = clock.nowMs() + plan.timeoutMs;
  for (let attempt = 1; ; attempt += 1) {
    const begunMs = clock.nowMs();
    try {
      const result = await runOnce(context, work, plan, { attempt, deadlineMs, reserver });
      budget.onSuccess();
      return result;
    } catch (error) {
      if (!CairnError.is(error) || error.retryClass !== 'restart') throw error;
      const pauseMs = Math.max(error.retryAfterMs, backoffMs(RESTART_BACKOFF, attempt - 1, rng));
      if (attempt >= plan.attemptsMax) throw givenUp(error, attempt, 'attemptsMax');
      // An attempt that is cut off in its commit would be an unknown outcome.
      const nowMs = clock.nowMs();
      if (nowMs + pauseMs + (nowMs - begunMs) >= deadlineMs)
        throw givenUp(error, attempt, `within ${plan.timeoutMs} ms`);
      if (!budget.take()) throw givenUp(error, attempt, 'too few transactions succeed at the first attempt');
      stats.transactionsRestarted += 1;
      await pause(context, pauseMs, plan.signal);
    }
  }
}

/** Holds the host process: a timer alone would let it end. */
async function pause(
  { clock, keepAlive }: TransactionContext,
  pauseMs: number,
  signal: AbortSignal,
): Promise<void> {
  keepAlive.hold();
  try {
    await sleep(clock, pauseMs, signal).catch(() => {
      throw cancelled(signal);
    });
  } finally {
    keepAlive.release();
  }
}

function cancelled({ reason }: AbortSignal): CairnError {
  // The client was closed.
  if (CairnError.is(reason) && reason.code === 'CANCELLED') return reason;
  return new CairnError('CANCELLED', 'cancelled by the caller', { cause: reason });
}

function givenUp(error: CairnError, attempts: number, why: string): CairnError {
  const tries = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  return new CairnError(error.code, `${error.message}; given up after ${tries} (${why})`, {
    cause: error,
    details: { ...error.details, attempts },
  });
}

interface Attempt {
  readonly attempt: number;
  readonly deadlineMs: number;
  /** Of all attempts. */
  readonly reserver: Reserver;
}

async function runOnce<Result>(
  context: TransactionContext,
  work: (transaction: Transaction) => Promise<Result> | Result,
  plan: TransactionPlan,
  attempt: Attempt,
): Promise<Result> {
  const { dispatcher } = context;
  const timing = (): DispatchTiming => timingOf(context, plan, attempt);
  const state = new TransactionState(plan.isolation === Isolation.SERIALIZABLE);
  const reader = new SnapshotReader(dispatcher, timing, {
    isOneInstant: plan.isolation !== Isolation.READ_COMMITTED,
  });
  const rowsOf = async function* (options: ScanOptions): AsyncGenerator<Row, void, undefined> {
    const timestamp = await reader.scanInstant();
    const { timeoutMs = plan.timeoutMs, signal } = timing();
    const signalled = signal === undefined ? {} : { signal };
    yield* context.scan({ ...options, consistency: { timestamp }, timeoutMs, ...signalled });
  };
  const { reserver } = attempt;
  const reserve = (keys: Buffer[], lock: Lock): Promise<ReserveResponse> =>
    reserver.reserve(keys, lock, () => reader.timestamp, timing);
  const transaction = new Transaction({ state, reader, reserve, sizes: dispatcher.sizes, rowsOf });
  let result: Result;
  try {
    result = await work(transaction);
  } catch (error) {
    Transaction.end(transaction, 'its closure threw');
    throw error;
  }
  Transaction.end(transaction, 'its closure returned');
  Transaction.checkDone(transaction);
  Transaction.committed(
    transaction,
    await commit(dispatcher, { state, reader, plan, owner: reserver.owner }, timing),
  );
  return result;
}

function timingOf({ clock }: TransactionContext, plan: TransactionPlan, attempt: Attempt): DispatchTiming {
  const timeoutMs = attempt.deadlineMs - clock.nowMs();
  if (timeoutMs <= 0) {
    const message = `the transaction was not done within ${plan.timeoutMs} ms (attempt ${attempt.attempt})`;
    throw new CairnError('DEADLINE_EXCEEDED', message, { details: { attempts: attempt.attempt } });
  }
  return { timeoutMs, signal: plan.signal, traceparent: plan.traceparent };
}

/** A closure that has returned. */
interface Ending {
  readonly state: TransactionState;
  readonly reader: SnapshotReader;
  readonly plan: TransactionPlan;
  /** Whose reservations it has; 0 = none. */
  readonly owner: number;
}

/** Where it committed. What has only read is of one instant already. */
async function commit(
  dispatcher: TransactionContext['dispatcher'],
  { state, reader, plan, owner }: Ending,
  timing: () => DispatchTiming,
): Promise<number> {
  if (!state.hasWrites) return reader.timestamp;
  const { reads, reserved, spans, writes } = state;
  const value = {
    ...{ start: reader.timestamp, isolation: plan.isolation, owner },
    ...{ reads, reserved, spans, writes },
  };
  const bytes = state.bytes + OVERHEAD_BYTES;
  return (await dispatcher.start({ $case: 'commit', value }, bytes, timing())) as number;
}
