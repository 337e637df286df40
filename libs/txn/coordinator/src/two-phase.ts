import {
  assert,
  CairnError,
  NO_BYTES,
  NOTHING,
  rethrowInvariant,
  timestamp,
  TIMESTAMP_LOGICAL_STEPS,
  type Timestamp,
} from '@cairn/base';
import { sleep } from '@cairn/ports';
import { backoffMs, type BackoffRule, type SpanTimes } from '@cairn/routing';
import { LockOp, type Mutation } from '@cairn/wire';

import { aborted, isAborted } from './aborts.js';
import { ownTimes } from './decisions.js';
import { inGroups, rangesChange, WRITE_GROUP, type GroupRules } from './groups.js';
import { Heartbeat } from './heartbeat.js';
import { mapKey } from './keys.js';
import type { LiveTransaction } from './live-transactions.js';
import type { CoordinatorParts } from './parts.js';
import type { TransactionWrite } from './types.js';
import { validateReads, type ReadSet } from './validation.js';

/** Commit timestamps that are taken one after the other because readers came before. */
const PUSHES_MAX = 16;
/** Between two timestamps, where a shard node is ahead of the oracle. */
const AHEAD_PAUSE_MS_MAX = 50;
/** Keys besides the primary that one entry resolves with the decision. */
const COMMITTED_WITH_PRIMARY_MAX = 1_024;
/** Between two tries to learn what became of the decision. */
const UNCLEAR: BackoffRule = { baseMs: 5, capMs: 200 };
const COMMIT_REGROUPS_MAX = 20;

export interface TwoPhaseRequest {
  readonly start: Timestamp;
  readonly writes: readonly TransactionWrite[];
  /** Whose reservations it passes; 0 = it has none. */
  readonly owner: Timestamp;
  /** What is validated at the commit timestamp. */
  readonly reads: ReadSet;
}

type Decision =
  | { readonly type: 'committed'; readonly commit: Timestamp }
  | { readonly type: 'aborted'; readonly error: CairnError };

/**
 * One commit over several ranges, from the first lock to the last: locks all keys, takes a commit timestamp,
 * looks whether all that was read is as it was, and decides with one entry at the primary. Before that entry
 * nothing has happened, whatever fails; behind it everything has. Locks that are left by a crash are resolved
 * by whoever meets them, from the entry at the primary or from its absence.
 */
export class TwoPhaseCommit {
  readonly #parts: CoordinatorParts;
  readonly #request: TwoPhaseRequest;
  readonly #live: LiveTransaction;
  readonly #primary: Uint8Array;
  readonly #mutations: readonly Mutation[];
  readonly #heartbeat: Heartbeat;
  /** Ends what is under way when the transaction is lost. */
  readonly #stop = new AbortController();
  #lost: CairnError | undefined;
  /** Commands that were sent and may have locked their keys. */
  readonly #maybeLocked = new Set<readonly Mutation[]>();
  #minCommit = timestamp(0);
  /** Keys that were resolved with the decision. */
  #resolved: ReadonlySet<string> = new Set();

  /** `live` is over when all is done. */
  constructor(parts: CoordinatorParts, request: TwoPhaseRequest, live: LiveTransaction) {
    const [first] = request.writes;
    assert(first !== undefined, 'a commit over several ranges writes something');
    this.#parts = parts;
    this.#request = request;
    this.#live = live;
    this.#primary = first.key;
    this.#mutations = request.writes.map(mutationOf);
    const { calls, clock, limits } = parts;
    this.#heartbeat = new Heartbeat({
      ...{ clock, calls, start: request.start, primary: first.key },
      ...{ intervalMs: limits.heartbeatMs, lockTtlMs: limits.lockTtlMs },
      lost: () => {
        this.#lose(aborted('rolled-back', first.key));
      },
    });
  }

  /**
   * Rejects with TRANSACTION_ABORTED, or with what the deadline, the caller or a store said, when nothing has
   * happened and nothing will; with OUTCOME_UNKNOWN when nobody can tell in time.
   */
  async run(times: SpanTimes): Promise<Timestamp> {
    const signal = AbortSignal.any([times.signal, this.#stop.signal]);
    const own: SpanTimes = {
      deadlineMs: times.deadlineMs,
      caller: times.caller,
      signal,
      nowMs: () => times.nowMs(),
    };
    let decision: Decision;
    try {
      await this.#prewrite(own);
      decision = await this.#decide(own, times);
    } catch (error) {
      rethrowInvariant(error);
      if (error instanceof Unclear) {
        await this.#settleBehind(error, times);
        throw error.forCaller;
      }
      decision = { type: 'aborted', error: this.#reasonOf(error, times) };
    }
    this.#heartbeat.stop();
    if (decision.type === 'aborted') {
      await this.#rollBack(times);
      throw decision.error;
    }
    await this.#resolveRest(decision.commit, times);
    return decision.commit;
  }

  async #prewrite(times: SpanTimes): Promise<void> {
    const { calls, clock, breaker, limits, router } = this.#parts;
    const { owner, start } = this.#request;
    const rules: GroupRules<Mutation> = {
      ...{ cache: router.cache, clock, limits: WRITE_GROUP },
      keyOf: ({ key }) => key,
      bytesOf: ({ key, value }) => key.length + value.length,
    };
    await inGroups(this.#mutations, rules, async (group) => {
      const [first] = group;
      if (first === undefined) return NOTHING;
      this.#maybeLocked.add(group);
      // All but the only command of a transaction may find it with locks.
      if (group.length < this.#mutations.length) this.#live.holdsLocks = true;
      const command = {
        ...({
          type: 'prewrite',
          start,
          primary: this.#primary,
          lockTtlMs: limits.lockTtlMs,
          owner,
        } as const),
        mutations: group,
      };
      try {
        const reply = await calls.send(command, first.key, times, (request) => {
          breaker.isPrewriteOf(request, this.#live);
          breaker.isOf(request, owner);
        });
        switch (reply.type) {
          case 'prewritten':
            this.#minCommit = timestamp(Math.max(this.#minCommit, reply.minCommit));
            if (group.some(({ key }) => key === this.#primary)) this.#heartbeat.start();
            return NOTHING;
          case 'regroup':
            this.#maybeLocked.delete(group);
            return group;
          case 'conflict':
            this.#maybeLocked.delete(group);
            throw aborted('conflict', reply.key);
          case 'tooOld':
            this.#maybeLocked.delete(group);
            throw aborted('too-old', first.key);
          case 'rolledBack':
            throw aborted('rolled-back', first.key);
          case 'committed':
            throw alreadyCommitted(reply.commit);
        }
      } catch (error) {
        rethrowInvariant(error);
        if (!mayHaveHappened(error)) this.#maybeLocked.delete(group);
        this.#lose(error);
        throw error;
      }
    });
  }

  /** The first error is the one that counts; what else is under way is of no use any more. */
  #lose(error: unknown): void {
    if (this.#lost !== undefined || !CairnError.is(error)) return;
    this.#lost = error;
    this.#stop.abort(error);
  }

  /** Commit timestamp, validation, decision; again when readers came before. */
  async #decide(own: SpanTimes, times: SpanTimes): Promise<Decision> {
    const { start, reads } = this.#request;
    for (let pushes = 0; pushes < PUSHES_MAX; pushes += 1) {
      const commit = await this.#takeCommitTimestamp(own);
      if (reads.keys.length + reads.spans.length > 0) {
        await validateReads(reads, { start, commit }, this.#parts, own);
      }
      if (this.#lost !== undefined) throw this.#lost;
      // What is lost meanwhile is heard of in the answer: this command is never given up for it.
      const pushed = await this.#commitAt(commit, times);
      if (pushed === undefined) return { type: 'committed', commit };
      this.#minCommit = timestamp(Math.max(this.#minCommit, pushed));
      this.#live.enter({ type: 'prewriting' });
    }
    throw aborted('pushed', this.#primary);
  }

  /**
   * A store may be ahead of the oracle for a moment, where somebody has told it what was not issued: the
   * locks name what is above, and the oracle comes there. Throws UNAVAILABLE when that takes too long.
   */
  async #takeCommitTimestamp(times: SpanTimes): Promise<Timestamp> {
    const { clock, timestamps } = this.#parts;
    for (let tries = 1; ; tries += 1) {
      const commit = await timestamps.timestamp();
      const least = Math.max(this.#minCommit, this.#live.pushedTo + 1, this.#request.start + 1);
      if (commit >= least) {
        this.#live.enter({ type: 'committing', commit });
        return commit;
      }
      const aheadMs = Math.ceil((least - commit) / TIMESTAMP_LOGICAL_STEPS);
      if (times.signal.aborted || times.nowMs() + aheadMs >= times.deadlineMs) {
        throw new CairnError('UNAVAILABLE', `a shard node is ${aheadMs} ms ahead of the oracle`, {
          retryAfterMs: Math.min(aheadMs, AHEAD_PAUSE_MS_MAX),
        });
      }
      await sleep(clock, Math.min(aheadMs + tries, AHEAD_PAUSE_MS_MAX));
    }
  }

  /** Answers the least commit timestamp when it was pushed. Throws Unclear when it may have happened. */
  async #commitAt(commit: Timestamp, times: SpanTimes): Promise<Timestamp | undefined> {
    const { clock, rng } = this.#parts;
    let unclear: CairnError | undefined;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#sendCommit(commit, times);
      } catch (error) {
        rethrowInvariant(error);
        if (!CairnError.is(error) || isAborted(error)) throw error;
        if (mayHaveHappened(error)) unclear ??= error;
        // An earlier sending may have happened: what this one was refused for says nothing of it.
        if (unclear === undefined) throw error;
        const pauseMs = backoffMs(UNCLEAR, attempt, rng);
        if (times.signal.aborted || times.nowMs() + pauseMs >= times.deadlineMs)
          throw new Unclear(commit, unclear);
        await sleep(clock, pauseMs);
      }
    }
  }

  async #sendCommit(commit: Timestamp, times: SpanTimes): Promise<Timestamp | undefined> {
    const { start } = this.#request;
    for (let tries = 0; tries < COMMIT_REGROUPS_MAX; tries += 1) {
      const keys = this.#besidesPrimary();
      const command = { type: 'commit', start, commit, primary: this.#primary, keys } as const;
      const reply = await this.#parts.calls.send(command, this.#primary, times);
      switch (reply.type) {
        case 'committed':
          // The start is the client's word: it may have sent it to two routers.
          if (reply.commit !== commit) throw new Unclear(commit, alreadyCommitted(reply.commit));
          this.#resolved = new Set([this.#primary, ...keys].map(mapKey));
          this.#live.enter({ type: 'committed', commit });
          this.#live.released([this.#primary, ...keys]);
          return undefined;
        case 'pushed':
          return reply.minCommit;
        case 'rolledBack':
          throw aborted('rolled-back', this.#primary);
        case 'tooOld':
          throw aborted('too-old', this.#primary);
        case 'regroup':
          break;
      }
    }
    throw rangesChange();
  }

  /** Other keys in the range of the primary, as far as is known. */
  #besidesPrimary(): readonly Uint8Array[] {
    const { cache } = this.#parts.router;
    const entry = cache.find(this.#primary);
    if (entry === undefined) return NOTHING;
    const keys: Uint8Array[] = [];
    let bytes = 0;
    for (const { key, value } of this.#mutations) {
      if (key === this.#primary || cache.find(key) !== entry) continue;
      bytes += key.length + value.length;
      if (keys.length >= COMMITTED_WITH_PRIMARY_MAX || bytes > WRITE_GROUP.bytesMax) break;
      keys.push(key);
    }
    return keys;
  }

  /** What the caller hears of a failure before the decision. */
  #reasonOf(error: unknown, times: SpanTimes): CairnError {
    const first = this.#lost ?? error;
    if (!CairnError.is(first)) throw first;
    if (times.signal.aborted) return new CairnError('CANCELLED', 'the caller gave up; nothing has happened');
    if (first.code !== 'OUTCOME_UNKNOWN' && first.retryClass !== 'back-off') return first;
    if (times.nowMs() >= times.deadlineMs) {
      return new CairnError(
        first.code === 'LOCKED' ? 'LOCKED' : 'DEADLINE_EXCEEDED',
        `the deadline passed before the transaction was decided, and nothing has happened: ${first.message}`,
      );
    }
    return aborted('unavailable', undefined, first);
  }

  async #rollBack(times: SpanTimes): Promise<void> {
    const { clock, limits, live, resolver } = this.#parts;
    const { start } = this.#request;
    this.#live.enter({ type: 'rolledBack' });
    const keys = [...this.#maybeLocked].flat().map(({ key }) => key);
    if (keys.length === 0) {
      live.end(this.#live);
      return;
    }
    // At the primary too: whoever has met another lock asks there, and would wait for a lock that does not come.
    const primary = this.#primary;
    await this.#behind(keys, times.deadlineMs, () =>
      resolver.rollBack({ start, primary, keys }, ownTimes(clock, limits.backgroundTimeoutMs), (released) => {
        this.#live.released(released);
      }),
    );
  }

  async #resolveRest(commit: Timestamp, times: SpanTimes): Promise<void> {
    const { clock, limits, live, resolver } = this.#parts;
    const { start } = this.#request;
    const keys = this.#mutations.map(({ key }) => key).filter((key) => !this.#resolved.has(mapKey(key)));
    if (keys.length === 0) {
      live.end(this.#live);
      return;
    }
    await this.#behind(keys, times.deadlineMs, () =>
      resolver.resolve({ start, commit, keys }, ownTimes(clock, limits.backgroundTimeoutMs), (released) => {
        this.#live.released(released);
      }),
    );
  }

  /** The answer is late already. What can still be learned is, so that no lock stays longer than it must. */
  async #settleBehind({ commit }: Unclear, times: SpanTimes): Promise<void> {
    const { clock, limits } = this.#parts;
    const keys = this.#mutations.map(({ key }) => key);
    await this.#behind(keys, times.deadlineMs, async () => {
      const own = ownTimes(clock, limits.backgroundTimeoutMs);
      try {
        const pushed = await this.#commitAt(commit, own);
        this.#heartbeat.stop();
        if (pushed === undefined) await this.#finish(commit, own);
        else await this.#finish(timestamp(0), own);
      } catch (error) {
        rethrowInvariant(error);
        if (isAborted(error)) await this.#finish(timestamp(0), own);
        else throw error;
      }
    });
  }

  /** Carries out everywhere what was learned. */
  async #finish(commit: Timestamp, times: SpanTimes): Promise<void> {
    const keys = this.#mutations.map(({ key }) => key).filter((key) => !this.#resolved.has(mapKey(key)));
    const { resolver } = this.#parts;
    const { start } = this.#request;
    const released = (gone: readonly Uint8Array[]): void => {
      this.#live.released(gone);
    };
    if (commit > 0) return resolver.resolve({ start, commit, keys }, times, released);
    this.#live.enter({ type: 'rolledBack' });
    return resolver.rollBack({ start, primary: this.#primary, keys }, times, released);
  }

  /** Hands the rest of the work to the background; then nothing is known of the transaction here any more. */
  async #behind(keys: readonly Uint8Array[], untilMs: number, task: () => Promise<void>): Promise<void> {
    const { background, live, logger } = this.#parts;
    const bytes = keys.reduce((sum, { length }) => sum + length, 0);
    let isTaken = false;
    await background.add(bytes, untilMs, async () => {
      isTaken = true;
      try {
        await task();
      } finally {
        this.#heartbeat.stop();
        live.end(this.#live);
      }
    });
    if (isTaken) return;
    logger.debug('locks left to whoever meets them', { reason: 'no room', locks: keys.length });
    this.#heartbeat.stop();
    live.end(this.#live);
  }
}

/** Another router has committed a transaction of this start. */
function alreadyCommitted(at: Timestamp): CairnError {
  return new CairnError('FAILED_PRECONDITION', `a transaction of this start was committed already, at ${at}`);
}

/** The decision may have been taken, and nobody could tell in time. */
class Unclear extends Error {
  readonly commit: Timestamp;
  readonly forCaller: CairnError;

  constructor(commit: Timestamp, cause: CairnError) {
    super(cause.message);
    this.commit = commit;
    this.forCaller = new CairnError(
      'OUTCOME_UNKNOWN',
      `the transaction may have been committed, and nobody could tell in time: ${cause.message}`,
      { cause },
    );
  }
}

/** A write whose call failed so may have been carried out. */
function mayHaveHappened(error: unknown): boolean {
  return CairnError.is(error) && (error.code === 'OUTCOME_UNKNOWN' || error.code === 'CANCELLED');
}

function mutationOf(write: TransactionWrite): Mutation {
  const { key } = write;
  if (write.type === 'put') return { key, op: LockOp.put, value: write.value, ttlMs: write.ttlMs };
  return { key, op: LockOp.delete, value: NO_BYTES, ttlMs: 0 };
}
