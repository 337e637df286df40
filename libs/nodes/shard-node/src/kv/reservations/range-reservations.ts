import { timestamp, type RangeDescriptor, type Timestamp } from '@cairn/base';
import { rowCacheKey, userKeyOfRowCacheKey, type RowCacheKey } from '@cairn/mvcc';
import type { Timer } from '@cairn/ports';
import { LockPolicy, LOCKS_TOLD_MAX, type LockInfo, type ReserveCommand } from '@cairn/wire';

import type { KvCall, Submitter } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import { HeldReserves, type PlaceKeeper } from './held-reserves.js';
import {
  PLACE_KEPT_MS,
  Reservations,
  type KeyChange,
  type Reserved,
  type ReserveOutcome,
} from './reservations.js';

/** One key that a command is to change. */
export interface ChangedKey {
  readonly key: Uint8Array;
  readonly change: KeyChange;
}

/** Reservations that end when a command is visible: what it wrote or locked is in their place. */
export interface EndedReservations {
  readonly owner: Timestamp;
  readonly keys: readonly RowCacheKey[];
}

/** What became of a command to reserve. */
export type ReserveResult = ReserveOutcome | { readonly type: 'held' };

/**
 * The reservations of one range at its leader, and the commands that wait for one. They live in memory, and
 * only as long as the leadership: nothing rests on them (see the README).
 */
export class RangeReservations implements PlaceKeeper {
  readonly #environment: Pick<KvEnvironment, 'clock' | 'reservations'>;
  readonly #state: Reservations;
  readonly #held: HeldReserves;
  #timer: { readonly atMs: number; readonly timer: Timer } | undefined;

  constructor(environment: Pick<KvEnvironment, 'clock' | 'reservations'>, queue: Submitter) {
    this.#environment = environment;
    const { clock, reservations } = environment;
    this.#held = new HeldReserves({ clock, places: reservations.held, queue });
    this.#state = new Reservations(reservations.budget, {
      mayTake: (key, owner) => {
        this.#held.wake(key, owner, this);
      },
    });
  }

  /** 0: nothing is in anybody's way. */
  get size(): number {
    return this.#state.size;
  }

  get waiting(): number {
    return this.#state.waiting;
  }

  /** Takes what it can; a command that waits is held until `untilMs`, and then comes as a call again. */
  reserve(call: KvCall, command: ReserveCommand, untilMs: number): ReserveResult {
    const nowMs = this.#environment.clock.nowMs();
    const mayHold = command.policy === LockPolicy.wait && nowMs < untilMs;
    const outcome = this.#state.reserve(command, mayHold, nowMs);
    let result: ReserveResult = outcome;
    if (outcome.type === 'waits' && mayHold) {
      const at = { key: rowCacheKey(outcome.key), owner: command.owner, untilMs };
      const isHeld = this.#held.hold(call, at, this);
      if (!isHeld) this.keepPlace(at.key, at.owner);
      result = isHeld ? { type: 'held' } : { type: 'full', what: 'waiters' };
    }
    this.#lookLater();
    return result;
  }

  /** A lock of the log has to be looked into first. */
  postpone(command: ReserveCommand): void {
    this.#state.postpone(command, this.#environment.clock.nowMs());
    this.#lookLater();
  }

  release(owner: Timestamp, keys: readonly RowCacheKey[]): void {
    this.#state.release(owner, keys, this.#environment.clock.nowMs());
    this.#lookLater();
  }

  /** A command is visible. */
  ended({ keys, owner }: EndedReservations): void {
    if (this.#state.size > 0) this.release(owner, keys);
  }

  /** What a command that was evaluated takes the place of; undefined = nothing. */
  endedBy(owner: Timestamp, keys: readonly RowCacheKey[]): EndedReservations | undefined {
    return owner === 0 || this.#state.size === 0 ? undefined : { owner, keys };
  }

  keepPlace(key: RowCacheKey, owner: Timestamp): void {
    this.#state.keepPlace(key, owner, this.#environment.clock.nowMs() + PLACE_KEPT_MS);
    this.#lookLater();
  }

  leave(key: RowCacheKey, owner: Timestamp): void {
    this.#state.keepPlace(key, owner, this.#environment.clock.nowMs());
    this.#lookLater();
  }

  /** The reservations of others that these changes meet, as they are told; `owner` 0 = nobody's. */
  inTheWayOf(changes: readonly ChangedKey[], owner: Timestamp): LockInfo[] {
    const nowMs = this.#environment.clock.nowMs();
    const found: LockInfo[] = [];
    for (const { key, change } of changes) {
      if (this.#state.size === 0 || found.length === LOCKS_TOLD_MAX) break;
      const met = this.#state.inTheWay(rowCacheKey(key), change, owner, nowMs);
      if (met !== undefined) found.push(infoOfReserved(met));
    }
    return found;
  }

  /** Those that the deletion of a span meets; an empty end = all keys from the start on. */
  inTheWayOfSpan(start: Uint8Array, end: Uint8Array): LockInfo[] {
    if (this.#state.size === 0) return [];
    const nowMs = this.#environment.clock.nowMs();
    const last = end.length === 0 ? undefined : rowCacheKey(end);
    return this.#state.inTheWayIn(rowCacheKey(start), last, nowMs).map(infoOfReserved);
  }

  /** Keys that went to children are theirs now, and nobody has them there. */
  moved({ endKey, startKey }: RangeDescriptor): void {
    const end = endKey.length === 0 ? undefined : rowCacheKey(endKey);
    this.#state.keepOnly(rowCacheKey(startKey), end);
    this.#held.wakeAll(this);
  }

  /** Leadership is lost, or the range is gone. */
  lost(): void {
    this.#state.clear();
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    this.#held.wakeAll(this);
  }

  /** One timer, at what is due first. One that comes too early finds nothing, and looks later. */
  #lookLater(): void {
    const { dueMs } = this.#state;
    if (dueMs === Infinity || (this.#timer !== undefined && this.#timer.atMs <= dueMs)) return;
    this.#timer?.timer.cancel();
    const { clock } = this.#environment;
    const timer = clock.setTimer(Math.max(0, dueMs - clock.nowMs()), () => {
      this.#timer = undefined;
      this.#state.expire(clock.nowMs());
      this.#lookLater();
    });
    this.#timer = { atMs: dueMs, timer };
  }
}

/** Nobody can be asked what became of it. */
function infoOfReserved({ key, owner }: Reserved): LockInfo {
  const userKey = userKeyOfRowCacheKey(key);
  return { key: userKey, primary: userKey, start: owner, deadline: timestamp(0), owner };
}
