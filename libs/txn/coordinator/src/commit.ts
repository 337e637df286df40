import { CairnError, NO_BYTES, NOTHING, type Timestamp, timestamp } from '@cairn/base';
import { sleep } from '@cairn/ports';
import { backoffMs, invalidField, type BackoffRule, type SpanTimes } from '@cairn/routing';
import { ExecuteOp, type ExecuteCommand, type ExecuteOperation } from '@cairn/wire';

import { aborted, isAborted } from './aborts.js';
import type { ReplyTo } from './calls.js';
import { isOneRange, WRITE_GROUP } from './groups.js';
import { mapKey } from './keys.js';
import { tooLarge, type TransactionLimits } from './limits.js';
import type { CommitPath, TransactionOutcome } from './metrics.js';
import type { CoordinatorParts } from './parts.js';
import { TwoPhaseCommit } from './two-phase.js';
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
    const commit = await this.measured('read-only', (takes) => this.#commit(request, times, takes));
    return { commit };
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
    const reads = request.isolation === 'serializable' ? request : { reads: NOTHING, spans: NOTHING };
    const keys = [...reads.reads, ...writes.map(({ key }) => key)];
    if (reads.spans.length === 0 && fitsOneCommand(request)) {
      takes('one-range');
      const reply = await this.oneRange(keys, executeOf(request, reads.reads), times);
      if (reply !== undefined) return reply.commit;
    }
    takes('two-phase');
    const readSet: ReadSet = start === 0 ? NO_READS : { keys: reads.reads, spans: reads.spans };
    return this.#twoPhase(start, writes, readSet, times);
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
      const reply = await calls.send(command, first, times);
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

  async #twoPhase(
    start: Timestamp,
    writes: readonly TransactionWrite[],
    reads: ReadSet,
    times: SpanTimes,
  ): Promise<Timestamp> {
    if (start > 0) return this.#tryTwoPhase(start, writes, reads, times);
    // It has read nothing, so what others wrote since its start is no reason to give up: it starts later.
    return retried(this.#parts, times, async () =>
      this.#tryTwoPhase(await this.#parts.timestamps.timestamp(), writes, reads, times),
    );
  }

  async #tryTwoPhase(
    start: Timestamp,
    writes: readonly TransactionWrite[],
    reads: ReadSet,
    times: SpanTimes,
  ): Promise<Timestamp> {
    const live = this.#parts.live.begin(start);
    if (live === undefined) {
      // Clients send what was refused again, and may come before all its locks are gone.
      if (this.#parts.live.get(start)?.phase.type === 'rolledBack') throw aborted('rolled-back');
      throw new CairnError('FAILED_PRECONDITION', 'the transaction is being committed already');
    }
    return new TwoPhaseCommit(this.#parts, { start, writes, reads }, live).run(times);
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
function checkCommit({ start, reads, spans, writes }: CommitRequest, limits: TransactionLimits): void {
  const keys = reads.length + writes.length + spans.length;
  if (keys > limits.keysMax) throw tooLarge('keys', limits.keysMax);
  let bytes = 0;
  const written = new Set<string>();
  for (const write of writes) {
    bytes += write.key.length + (write.type === 'put' ? write.value.length : 0);
    written.add(mapKey(write.key));
  }
  for (const key of reads) bytes += key.length;
  for (const span of spans) bytes += span.start.length + span.end.length;
  if (bytes > limits.bytesMax) throw tooLarge('bytes of keys and values', limits.bytesMax);
  if (written.size < writes.length)
    throw invalidField('writes', 'a transaction writes each key once, at its end');
  if (start === 0 && reads.length + spans.length > 0) {
    throw invalidField('start', 'a transaction that has read something has a start timestamp');
  }
}

function fitsOneCommand({ reads, writes }: CommitRequest): boolean {
  if (reads.length + writes.length > WRITE_GROUP.itemsMax) return false;
  let bytes = 0;
  for (const { length } of reads) bytes += length;
  for (const write of writes) bytes += write.key.length + (write.type === 'put' ? write.value.length : 0);
  return bytes <= WRITE_GROUP.bytesMax;
}

function executeOf({ start, writes }: CommitRequest, reads: readonly Uint8Array[]): ExecuteCommand {
  return {
    type: 'execute',
    start,
    reads,
    checksWrites: start > 0,
    conditions: NOTHING,
    then: writes.map(operationOf),
    otherwise: NOTHING,
    owner: timestamp(0),
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
