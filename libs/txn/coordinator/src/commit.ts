import { CairnError, NO_BYTES, NOTHING, timestamp, type Timestamp } from '@cairn/base';
import { sleep } from '@cairn/ports';
import { backoffMs, invalidField, type BackoffRule, type SpanTimes } from '@cairn/routing';
import { ExecuteOp, type ExecuteCommand, type ExecuteOperation } from '@cairn/wire';

import { aborted, isAborted, isDeadlock } from './aborts.js';
import type { ReplyTo } from './calls.js';
import { isOneRange, WRITE_GROUP } from './groups.js';
import { distinctKeys, mapKey } from './keys.js';
import { tooLarge, type TransactionLimits } from './limits.js';
import type { CommitPath, TransactionOutcome } from './metrics.js';
import type { CoordinatorParts } from './parts.js';
import { TwoPhaseCommit, type TwoPhaseRequest } from './two-phase.js';
import type { CommitOutcome, CommitRequest, TransactionWrite } from './types.js';
import type { ReadSet } from './validation.js';

/**
 * Times that a command for one range is sent to where its range seems to be before it is given up as that.
 */
const ONE_RANGE_TRIES_MAX = 3;
/** Between two tries of a transaction that can be run again here, because it was run here. */
const CONFLICT: BackoffRule = { baseMs: 2, capMs: 100 };

const NO_READS: ReadSet = { keys: NOTHING, spans: NOTHING };

/** Commits what transactions did: at one leader where all keys are in one range, otherwise in two phases. */
export class Committer {
  readonly #parts: CoordinatorParts;

  constructor(parts: CoordinatorParts) {
    this.#parts = parts;
  }

  /** See `TransactionCoordinator.commit`. */
  async commit(request: CommitRequest, times: SpanTimes): Promise<CommitOutcome> {
    checkCommit(request, this.#parts.limits);
    const { owner = timestamp(0) } = request;
    const { reservations } = this.#parts;
    try {
      const commit = await this.measured('read-only', (takes) => this.#commit(request, times, takes));
      reservations.release(owner, times.caller);
      return { commit };
    } catch (error) {
      if (isDeadlock(error)) reservations.release(owner, times.caller);
      throw error;
    }
  }

  /**
   * Counts what `run` comes to; undefined = it was nothing yet. `path`: what it takes unless it says
   * otherwise.
   */
  async measured<T>(path: CommitPath, run: (takes: (path: CommitPath) => void) => Promise<T>): Promise<T> {
    const { clock, metrics } = this.#parts;
    const beganMs = clock.nowMs();
    let taken = path;
    const count = (outcome: TransactionOutcome): void => {
      metrics.ended(outcome, taken, clock.nowMs() - beganMs);
    };
    try {
      const result = await run((other) => {
        taken = other;
      });
      if (result !== undefined) count('committed');
      return result;
    } catch (error) {
      count(outcomeOf(error));
      if (isAborted(error)) metrics.aborted(String(error.details['reason']));
      throw error;
    }
  }

  async #commit(
    request: CommitRequest,
    times: SpanTimes,
    takes: (path: CommitPath) => void,
  ): Promise<Timestamp> {
    const { start, writes } = request;
    // One snapshot was read, which is a place in the order of all: nothing can be in conflict.
    if (writes.length === 0) return start;
    const { reserved = NOTHING, owner = timestamp(0) } = request;
    // What was reserved is looked at whatever the level: the reservation may have been lost.
    const reads =
      request.isolation === 'serializable'
        ? { keys: distinctKeys([...request.reads, ...reserved]), spans: request.spans }
        : { keys: reserved, spans: NOTHING };
    const keys = [...reads.keys, ...writes.map(({ key }) => key)];
    if (reads.spans.length === 0 && fitsOneCommand(reads.keys, writes)) {
      takes('one-range');
      const reply = await this.oneRange(keys, executeOf(request, reads.keys), times);
      if (reply !== undefined) return reply.commit;
    }
    takes('two-phase');
    return this.#twoPhase({ start, writes, owner, reads: start === 0 ? NO_READS : reads }, times);
  }

  /**
   * Sends a command to the one range of its keys. Answers undefined when they are in several, and nothing has
   * happened.
   */
  async oneRange(
    keys: readonly Uint8Array[],
    command: ExecuteCommand,
    times: SpanTimes,
  ): Promise<Extract<ReplyTo<'execute'>, { type: 'executed' }> | undefined> {
    const { calls, router } = this.#parts;
    const [first] = keys;
    if (first === undefined) throw invalidField('then', 'a transaction names at least one key');
    for (let tries = 0; tries < ONE_RANGE_TRIES_MAX; tries += 1) {
      if (!isOneRange(keys, router.cache)) return undefined;
      const reply = await calls.send(command, first, times, (request) => {
        this.#parts.breaker.isOf(request, command.owner);
      });
      switch (reply.type) {
        case 'executed':
          return reply;
        case 'conflict':
          throw aborted('conflict', reply.key);
        case 'tooOld':
          throw aborted('too-old', first);
        case 'regroup':
          break;
      }
    }
    return undefined;
  }

  async #twoPhase(request: TwoPhaseRequest, times: SpanTimes): Promise<Timestamp> {
    if (request.start > 0) return this.#tryTwoPhase(request, times);
    // It has read nothing, so what others wrote since its start is no reason to give up: it starts later.
    return retried(this.#parts, times, async () =>
      this.#tryTwoPhase({ ...request, start: await this.#parts.timestamps.timestamp() }, times),
    );
  }

  async #tryTwoPhase(request: TwoPhaseRequest, times: SpanTimes): Promise<Timestamp> {
    const { start } = request;
    const live = this.#parts.live.begin(start);
    if (live === undefined) {
      // Clients send what was refused again, and may come before all its locks are gone.
      if (this.#parts.live.get(start)?.phase.type === 'rolledBack') throw aborted('rolled-back');
      throw new CairnError('FAILED_PRECONDITION', 'the transaction is being committed already');
    }
    return new TwoPhaseCommit(this.#parts, request, live).run(times);
  }
}

/** Runs something again while it is aborted for what others do, with pauses, until there is no time left. */
export async function retried<T>(
  { clock, rng }: Pick<CoordinatorParts, 'clock' | 'rng'>,
  times: SpanTimes,
  run: () => Promise<T>,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await run();
    } catch (error) {
      if (!isAborted(error)) throw error;
      const pauseMs = Math.max(error.retryAfterMs, backoffMs(CONFLICT, attempt, rng));
      if (times.signal.aborted || times.nowMs() + pauseMs >= times.deadlineMs) throw error;
      await sleep(clock, pauseMs);
    }
  }
}

/** Throws what is wrong with what a client says that its transaction did. */
function checkCommit(request: CommitRequest, limits: TransactionLimits): void {
  const { start, reads, reserved = NOTHING, spans, writes } = request;
  const keys = reads.length + reserved.length + writes.length + spans.length;
  if (keys > limits.keysMax) throw tooLarge('keys', limits.keysMax);
  let bytes = 0;
  const written = new Set<string>();
  for (const write of writes) {
    bytes += write.key.length + (write.type === 'put' ? write.value.length : 0);
    written.add(mapKey(write.key));
  }
  for (const key of [...reads, ...reserved]) bytes += key.length;
  for (const span of spans) bytes += span.start.length + span.end.length;
  if (bytes > limits.bytesMax) throw tooLarge('bytes of keys and values', limits.bytesMax);
  if (written.size < writes.length)
    throw invalidField('writes', 'a transaction writes each key once, at its end');
  if (start === 0 && reads.length + reserved.length + spans.length > 0) {
    throw invalidField('start', 'a transaction that has read something has a start timestamp');
  }
}

function fitsOneCommand(reads: readonly Uint8Array[], writes: readonly TransactionWrite[]): boolean {
  if (reads.length + writes.length > WRITE_GROUP.itemsMax) return false;
  let bytes = 0;
  for (const { length } of reads) bytes += length;
  for (const write of writes) bytes += write.key.length + (write.type === 'put' ? write.value.length : 0);
  return bytes <= WRITE_GROUP.bytesMax;
}

function executeOf(
  { owner = timestamp(0), start, writes }: CommitRequest,
  reads: readonly Uint8Array[],
): ExecuteCommand {
  return {
    type: 'execute',
    start,
    reads,
    checksWrites: start > 0,
    conditions: NOTHING,
    then: writes.map(operationOf),
    otherwise: NOTHING,
    owner,
  };
}

function operationOf(write: TransactionWrite): ExecuteOperation {
  const { key } = write;
  if (write.type === 'delete') {
    return { op: ExecuteOp.delete, key, value: NO_BYTES, ttlMs: 0, delta: '0' };
  }
  return { op: ExecuteOp.put, key, value: write.value, ttlMs: write.ttlMs, delta: '0' };
}

function outcomeOf(error: unknown): TransactionOutcome {
  if (isAborted(error)) return 'aborted';
  return CairnError.is(error) && error.code === 'OUTCOME_UNKNOWN' ? 'unknown' : 'failed';
}
