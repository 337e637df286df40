import {
  assert,
  BoundedBytes,
  CairnError,
  messageOf,
  NOTHING,
  rethrowInvariant,
  type Timestamp,
} from '@cairn/base';
import { sleep, type Clock, type Logger, type Timer } from '@cairn/ports';
import { invalidField, type RangeCache, type SpanTimes } from '@cairn/routing';
import {
  LockPolicy,
  RESERVE_KEYS_MAX,
  type LockStrength,
  type ReservedReply,
  type ReservedRow,
} from '@cairn/wire';

import { isAborted, isDeadlock, lockNotAvailable } from './aborts.js';
import type { TransactionCalls } from './calls.js';
import { ownTimes } from './decisions.js';
import { inGroups, keyRules, rangesChange, type GroupRules } from './groups.js';
import { mapKey } from './keys.js';
import type { TransactionMetrics } from './metrics.js';
import { groupOf, RESERVE_COMMAND, Taking, type Owner } from './taking.js';
import type { Reserved, ReserveRequest, TimestampSource } from './types.js';
import type { Wait, WaitTable } from './wait-table.js';

/** A reservation that is not renewed lives so long; a third of it passes from one renewal to the next. */
const TTL_MS = 10_000;
/** However busy its transaction is. */
const KEPT_MS_MAX = 3_600_000;
const LOCK_TIMEOUT_MS = 10_000;
/** A leader holds a question for a key that is not free: shortly at first, to learn who is in the way. */
const FIRST_SLICE_MS = 50;
const SLICE_MS = 100;
/** Of one call. */
const KEYS_PER_CALL_MAX = 10_000;
/** Reserved keys of all owners, and what they take besides their bytes. */
const KEPT_KEYS_MAX = 200_000;
const KEPT_BYTES_MAX = 64 * 1024 * 1024;
const KEY_OVERHEAD_BYTES = 64;
const RETRY_AFTER_MS = 100;
const RELEASE_TIMEOUT_MS = 5_000;
/** Answers one after the other that ranges have changed. */
const FRUITLESS_MAX = 20;
const FRUITLESS_PAUSE_MS = 10;
const NOBODY = '';

export interface ReservationParts {
  readonly cache: Pick<RangeCache, 'find'>;
  readonly calls: TransactionCalls;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timestamps: TimestampSource;
  readonly waits: WaitTable;
  readonly metrics: TransactionMetrics;
}

/**
 * The reservations of transactions that are run through this router: takes them range by range in the order
 * of the keys, renews them, and gives them back. Nothing rests on them: what was lost on the way aborts a
 * commit. Bounded in keys and bytes of all owners together, and each owner in time.
 */
export class Reservations {
  readonly #parts: ReservationParts;
  readonly #owners = new Map<Timestamp, Owner>();
  readonly #room = new BoundedBytes({
    ...{ name: 'reserved keys', limit: KEPT_BYTES_MAX, countLimit: KEPT_KEYS_MAX },
  });
  readonly #rules: GroupRules<Uint8Array>;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(parts: ReservationParts) {
    this.#parts = parts;
    this.#rules = keyRules(parts, RESERVE_COMMAND);
  }

  /** Keys that are reserved through here. */
  get count(): number {
    return this.#room.count;
  }

  /** See `TransactionCoordinator.reserve`. */
  async reserve(request: ReserveRequest, times: SpanTimes): Promise<Reserved> {
    const { keys, lockTimeoutMs = LOCK_TIMEOUT_MS, start } = request;
    if (keys.length === 0) throw invalidField('keys', 'keys must not be empty');
    if (keys.length > KEYS_PER_CALL_MAX)
      throw invalidField('keys', `a call reserves at most ${KEYS_PER_CALL_MAX} keys, not ${keys.length}`);
    const owner = await this.#ownerOf(request.owner, times.caller ?? NOBODY);
    owner.calls += 1;
    try {
      const taking = new Taking(owner, request, times.nowMs() + lockTimeoutMs, times);
      await this.#take(taking);
      // Behind all reservations: nobody writes what is reserved between this and the commit.
      const at = start > 0 ? start : await this.#parts.timestamps.timestamp();
      if (owner.isReleased) throw givenBack();
      const rows = keys.map((key) => {
        const row = taking.rows.get(mapKey(key));
        assert(row !== undefined, 'a row for each key');
        return row;
      });
      return { owner: owner.id, timestamp: at, rows };
    } catch (error) {
      // Who took its first keys does not know its owner.
      if (request.owner === 0 || isDeadlock(error)) this.release(owner.id, owner.caller);
      throw error;
    } finally {
      owner.calls -= 1;
      this.#forgetIfEmpty(owner);
    }
  }

  /** Gives back all that the owner has here; behind the call. */
  release(id: Timestamp, caller?: string): void {
    const owner = this.#owners.get(id);
    if (owner === undefined || (caller !== undefined && owner.caller !== caller)) return;
    const keys = [...owner.keys.values()].map(({ key }) => key);
    owner.isReleased = true;
    this.#forget(owner, keys);
    this.#owners.delete(id);
    this.#giveBack(id, keys);
    const { waiters } = owner;
    for (const wake of [...waiters]) wake();
    waiters.clear();
  }

  /** The caller has gone. */
  releaseAllOf(caller: string): void {
    for (const owner of [...this.#owners.values()]) if (owner.caller === caller) this.release(owner.id);
  }

  /** Calls back when the owner gives its keys back; undefined = it has none here. The answer takes it back. */
  onRelease(id: Timestamp, wake: () => void): (() => void) | undefined {
    const owner = this.#owners.get(id);
    if (owner === undefined) return undefined;
    owner.waiters.add(wake);
    return () => owner.waiters.delete(wake);
  }

  /** Renews nothing any more: what is left expires. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { id } of [...this.#owners.values()]) this.release(id);
  }

  async #ownerOf(id: Timestamp, caller: string): Promise<Owner> {
    if (this.#isClosed) throw new CairnError('UNAVAILABLE', 'the router stops', { retryAfterMs: 100 });
    const known = this.#owners.get(id);
    if (known !== undefined) {
      if (known.caller !== caller) throw invalidField('owner', 'the owner is somebody else');
      return known;
    }
    const owner: Owner = {
      id: id > 0 ? id : await this.#parts.timestamps.timestamp(),
      ...{ caller, beganMs: this.#parts.clock.nowMs(), keys: new Map() },
      ...{ calls: 0, isReleased: false, isRenewing: false, waiters: new Set() },
    };
    this.#owners.set(owner.id, owner);
    return owner;
  }

  async #take(taking: Taking): Promise<void> {
    let wait: Wait | undefined;
    let slices = 0;
    let fruitless = 0;
    try {
      while (taking.isLeft) {
        wait?.check();
        const group = groupOf(taking.rest, this.#parts.cache);
        const reply = await this.#send(taking, group, slices === 0 ? FIRST_SLICE_MS : SLICE_MS);
        if (reply === 'regroup') {
          fruitless += 1;
          if (fruitless > FRUITLESS_MAX) throw rangesChange();
          await sleep(this.#parts.clock, FRUITLESS_PAUSE_MS);
          continue;
        }
        fruitless = 0;
        this.#keep(taking, group, reply.rows);
        if (reply.waitsFor === undefined) {
          slices = 0;
          wait?.end();
          wait = undefined;
          continue;
        }
        const { key, owners } = reply.waitsFor;
        if (slices === 0) this.#parts.metrics.reservationWaited();
        if (taking.request.policy === LockPolicy.nowait) throw lockNotAvailable(key, 'nowait was asked for');
        slices += 1;
        wait ??= this.#parts.waits.begin(taking.owner.id);
        wait.holders = owners;
        wait.check();
        if (taking.isLate) throw lockNotAvailable(key, 'the time to wait for it is over');
      }
    } catch (error) {
      throw this.#failed(taking, error);
    } finally {
      wait?.end();
    }
  }

  async #send(
    taking: Taking,
    keys: readonly Uint8Array[],
    sliceMs: number,
  ): Promise<ReservedReply | 'regroup'> {
    const { owner, request } = taking;
    const [first] = keys;
    assert(first !== undefined, 'a command reserves something');
    const waitMs = Math.max(0, Math.min(sliceMs, taking.leftMs));
    const { strength, policy } = request;
    const command = {
      ...({ type: 'reserve', owner: owner.id, strength, policy, keys } as const),
      ...{ waitMs, ttlMs: TTL_MS },
    };
    const reply = await this.#parts.calls.send(command, first, taking.timesOf(waitMs));
    if (reply.type === 'regroup') return reply.type;
    const isWhole = reply.waitsFor === undefined && reply.rows.length === keys.length;
    if (isWhole || (reply.waitsFor !== undefined && reply.rows.length < keys.length)) return reply;
    throw new CairnError(
      'INTERNAL',
      `a shard node answered ${reply.rows.length} of ${keys.length} reservations`,
    );
  }

  /** The rows are those of the first keys of the group. */
  #keep(taking: Taking, group: readonly Uint8Array[], rows: readonly ReservedRow[]): void {
    const { owner, request } = taking;
    for (const [at, row] of rows.entries()) {
      const key = group[at] as Uint8Array;
      taking.rows.set(mapKey(key), row);
      if (!row.isReserved) continue;
      if (owner.isReleased) {
        this.#giveBack(owner.id, group.slice(0, rows.length));
        throw givenBack();
      }
      const known = owner.keys.get(mapKey(key));
      if (known !== undefined) {
        known.strength = Math.max(known.strength, request.strength) as LockStrength;
        continue;
      }
      const bytes = key.length + KEY_OVERHEAD_BYTES;
      if (!this.#room.tryTake(bytes)) {
        this.#giveBack(owner.id, group.slice(at, rows.length));
        throw this.#room.refusal(bytes, RETRY_AFTER_MS);
      }
      owner.keys.set(mapKey(key), { key: Buffer.from(key), strength: request.strength });
      taking.taken.push(key);
    }
    taking.done(rows.length);
    this.#renewLater();
  }

  /** What a call that failed has taken is given back, unless the transaction is run again with it. */
  #failed(taking: Taking, error: unknown): unknown {
    rethrowInvariant(error);
    const isLocked = CairnError.is(error) && (error.code === 'LOCKED' || error.code === 'DEADLINE_EXCEEDED');
    const [key] = taking.rest;
    const told =
      isLocked && taking.isLate && key !== undefined
        ? lockNotAvailable(key, 'the time to wait for it is over')
        : error;
    if (!isAborted(told)) {
      this.#forget(taking.owner, taking.taken);
      // A command that was not answered may have taken its keys.
      this.#giveBack(taking.owner.id, [
        ...taking.taken,
        ...taking.rest.filter((each) => !taking.owner.keys.has(mapKey(each))).slice(0, RESERVE_KEYS_MAX),
      ]);
    }
    return told;
  }

  #forget(owner: Owner, keys: readonly Uint8Array[]): void {
    for (const key of keys) {
      if (!owner.keys.delete(mapKey(key))) continue;
      this.#room.give(key.length + KEY_OVERHEAD_BYTES);
    }
  }

  #forgetIfEmpty(owner: Owner): void {
    if (owner.calls === 0 && owner.keys.size === 0 && this.#owners.get(owner.id) === owner)
      this.release(owner.id);
  }

  /** What is not given back for any reason expires. */
  #giveBack(owner: Timestamp, keys: readonly Uint8Array[]): void {
    if (keys.length === 0) return;
    const { calls, clock, logger } = this.#parts;
    inGroups(keys, this.#rules, async (group) => {
      const [first] = group;
      if (first === undefined) return NOTHING;
      const times = ownTimes(clock, RELEASE_TIMEOUT_MS);
      const reply = await calls.send({ type: 'release', owner, keys: group }, first, times);
      return reply.type === 'regroup' ? group : NOTHING;
    }).catch((error: unknown) => {
      rethrowInvariant(error);
      if (!CairnError.is(error)) throw error;
      logger.debug('reservations left to expire', { reason: messageOf(error) });
    });
  }

  #renewLater(): void {
    if (this.#isClosed || this.#owners.size === 0) return;
    this.#timer ??= this.#parts.clock.setTimer(TTL_MS / 3, () => {
      this.#timer = undefined;
      for (const owner of [...this.#owners.values()]) this.#renew(owner);
      this.#renewLater();
    });
  }

  #renew(owner: Owner): void {
    const { clock, logger } = this.#parts;
    if (clock.nowMs() - owner.beganMs >= KEPT_MS_MAX) {
      this.release(owner.id);
      return;
    }
    if (owner.isRenewing || owner.keys.size === 0) return;
    owner.isRenewing = true;
    this.#renewAll(owner)
      .catch((error: unknown) => {
        rethrowInvariant(error);
        if (!CairnError.is(error)) throw error;
        logger.debug('reservations not renewed', { reason: messageOf(error) });
      })
      .finally(() => {
        owner.isRenewing = false;
      });
  }

  async #renewAll(owner: Owner): Promise<void> {
    const { calls, clock } = this.#parts;
    const strengths = new Set([...owner.keys.values()].map(({ strength }) => strength));
    for (const strength of strengths) {
      const keys = [...owner.keys.values()].filter((kept) => kept.strength === strength);
      await inGroups(
        keys.map(({ key }) => key),
        this.#rules,
        async (group) => {
          const [first] = group;
          if (first === undefined || owner.isReleased) return NOTHING;
          const reply = await calls.send(
            {
              ...({ type: 'reserve', owner: owner.id, strength, keys: group, waitMs: 0 } as const),
              // One that was lost, and that somebody else has by now, is not waited for: the commit finds out.
              ...{ policy: LockPolicy.skipLocked, ttlMs: TTL_MS },
            },
            first,
            ownTimes(clock, TTL_MS / 3),
          );
          if (reply.type === 'regroup') return group;
          if (owner.isReleased) this.#giveBack(owner.id, group);
          return NOTHING;
        },
      );
    }
  }
}

function givenBack(): CairnError {
  return new CairnError('CANCELLED', 'the transaction has ended, and its reservations were given back');
}
