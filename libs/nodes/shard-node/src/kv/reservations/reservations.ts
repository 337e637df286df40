import { timestamp, type Timestamp } from '@cairn/base';
import { rowCacheKey, type RowCacheKey } from '@cairn/mvcc';
import {
  LockPolicy,
  LOCKS_TOLD_MAX,
  LockStrength,
  WAITS_FOR_OWNERS_MAX,
  type ReserveCommand,
} from '@cairn/wire';

import { OrderedKeys } from '../txn/ordered-keys.js';
import type { ReservationBudget } from './reservation-budget.js';
import { WaitQueue, type Wanted } from './wait-queue.js';

/** A place is kept so long after its question was answered. */
export const PLACE_KEPT_MS = 2_000;
/** What is over is looked for at most so often: a reservation may live that much longer. */
export const EXPIRY_STEP_MS = 10;
/** Estimated bytes of a key that is kept, besides its own. */
const KEY_OVERHEAD_BYTES = 768;

/** What a write does to its key. */
export type KeyChange = 'update' | 'delete';

/** A reservation that is in somebody's way. */
export interface Reserved {
  readonly key: RowCacheKey;
  readonly owner: Timestamp;
}

export type ReserveOutcome =
  /** Which of the keys are the owner's now; all, unless the command skips what is not free. */
  | { readonly type: 'reserved'; readonly isReserved: readonly boolean[] }
  /** The first `kept` keys are the owner's; behind them is one that is not free, because of these owners. */
  | {
      readonly type: 'waits';
      readonly kept: number;
      readonly key: Uint8Array;
      readonly owners: readonly Timestamp[];
    }
  /** There is no room; nothing was taken. */
  | { readonly type: 'full'; readonly what: 'reservations' | 'waiters' };

/** Who is told that a key has become free for an owner that has a place; it may keep places, no more. */
export interface PlaceListener {
  mayTake(key: RowCacheKey, owner: Timestamp): void;
}

interface ReservedKey {
  readonly key: RowCacheKey;
  /** Never two of which one is exclusive. */
  readonly holders: Map<Timestamp, LockStrength>;
  readonly queue: WaitQueue;
}

interface Owner {
  untilMs: number;
  readonly keys: Set<RowCacheKey>;
}

/** What a command took, to be given back. */
interface Taken {
  readonly state: ReservedKey;
  readonly before: LockStrength | undefined;
}

/**
 * The reservations of one range: which owner has which key, and who waits for it. A pure state machine: time
 * is what its caller says. Whoever waits is served in order, those first that have the key already and want
 * more of it. All reservations of an owner live equally long, from its last command on.
 */
export class Reservations {
  readonly #budget: ReservationBudget;
  readonly #listener: PlaceListener;
  readonly #keys = new Map<RowCacheKey, ReservedKey>();
  readonly #order = new OrderedKeys();
  readonly #owners = new Map<Timestamp, Owner>();
  readonly #contended = new Set<ReservedKey>();
  #size = 0;
  #waiting = 0;
  /** Nothing is over before. */
  #dueMs = Infinity;

  constructor(budget: ReservationBudget, listener: PlaceListener) {
    this.#budget = budget;
    this.#listener = listener;
  }

  /** Reservations, one for each owner of a key. 0: nobody need ask whether one is in the way. */
  get size(): number {
    return this.#size;
  }

  /** Places in queues. */
  get waiting(): number {
    return this.#waiting;
  }

  /** When `expire` is to be called; Infinity = never. */
  get dueMs(): number {
    return this.#owners.size === 0 && this.#waiting === 0 ? Infinity : this.#dueMs;
  }

  /** `isHeld`: of a command that waits, the question is held where it has to. */
  reserve(command: ReserveCommand, isHeld: boolean, nowMs: number): ReserveOutcome {
    this.expire(nowMs);
    this.#renew(command, nowMs);
    const outcome = this.#take(command, isHeld, nowMs);
    this.#forgetOwner(command.owner);
    return outcome;
  }

  /** It cannot be served now: what its owner has stays as long as if it had been, and so do its places. */
  postpone({ keys, owner, ttlMs }: ReserveCommand, nowMs: number): void {
    this.expire(nowMs);
    const known = this.#owners.get(owner);
    if (known !== undefined) {
      known.untilMs = nowMs + ttlMs;
      this.#due(known.untilMs);
    }
    for (const key of keys) this.keepPlace(rowCacheKey(key), owner, nowMs + PLACE_KEPT_MS);
  }

  #take(command: ReserveCommand, isHeld: boolean, nowMs: number): ReserveOutcome {
    const taken: Taken[] = [];
    const isReserved: boolean[] = [];
    for (const userKey of command.keys) {
      const result = this.#takeOne(command, rowCacheKey(userKey), taken);
      if (result === 'full') {
        this.#undo(command.owner, taken);
        return { type: 'full', what: 'reservations' };
      }
      if (result === 'blocked' && command.policy !== LockPolicy.skipLocked) {
        return this.#blocked(command, isReserved.length, { isHeld, nowMs, taken });
      }
      isReserved.push(result === 'taken');
    }
    return { type: 'reserved', isReserved };
  }

  #renew({ owner, ttlMs }: ReserveCommand, nowMs: number): void {
    const known = this.#owners.get(owner);
    const untilMs = nowMs + ttlMs;
    if (known === undefined) this.#owners.set(owner, { untilMs, keys: new Set() });
    else known.untilMs = untilMs;
    this.#due(untilMs);
  }

  #takeOne(
    { owner, strength }: ReserveCommand,
    key: RowCacheKey,
    taken: Taken[],
  ): 'taken' | 'blocked' | 'full' {
    const known = this.#keys.get(key);
    const before = known?.holders.get(owner);
    if (known !== undefined && before !== undefined && before >= strength) return 'taken';
    if (known !== undefined && this.#isBlocked(known, owner, strength)) return 'blocked';
    if (before === undefined) {
      if (!this.#budget.takeReservation(known === undefined ? bytesOf(key) : 0)) return 'full';
      this.#size += 1;
    }
    const state = known ?? this.#newKey(key);
    state.holders.set(owner, strength);
    this.#owners.get(owner)?.keys.add(key);
    taken.push({ state, before });
    const place = state.queue.find(owner);
    this.#removePlace(state, owner);
    // It waited for more than it takes: others may have the key with it.
    if (place !== undefined && place.strength > strength) this.#served(state);
    return 'taken';
  }

  #newKey(key: RowCacheKey): ReservedKey {
    const state: ReservedKey = { key, holders: new Map(), queue: new WaitQueue() };
    this.#keys.set(key, state);
    this.#order.add(key);
    return state;
  }

  #isBlocked(state: ReservedKey, owner: Timestamp, strength: LockStrength): boolean {
    if (foreignOf(state, owner, strength, 1).length > 0) return true;
    const wanted = wantedOf(state, owner, strength);
    return state.queue.isInTheWay(wanted, state.queue.find(owner));
  }

  /** Nothing but `wait` takes a place. */
  #blocked(
    command: ReserveCommand,
    kept: number,
    { isHeld, nowMs, taken }: { readonly isHeld: boolean; readonly nowMs: number; readonly taken: Taken[] },
  ): ReserveOutcome {
    const { owner, policy, strength } = command;
    const key = command.keys[kept] as Uint8Array;
    const state = this.#keys.get(rowCacheKey(key)) as ReservedKey;
    const wanted = wantedOf(state, owner, strength);
    const untilMs = isHeld ? Infinity : nowMs + PLACE_KEPT_MS;
    if (policy === LockPolicy.wait && !this.#place(state, { owner, wanted, untilMs })) {
      this.#undo(owner, taken);
      return { type: 'full', what: 'waiters' };
    }
    const place = state.queue.find(owner);
    const owners = new Set([
      ...foreignOf(state, owner, strength, WAITS_FOR_OWNERS_MAX),
      ...state.queue.inFront(wanted, place, WAITS_FOR_OWNERS_MAX),
    ]);
    if (policy === LockPolicy.nowait) this.#undo(owner, taken);
    return {
      ...{ type: 'waits', kept: policy === LockPolicy.nowait ? 0 : kept, key },
      owners: [...owners].sort((one, other) => one - other).slice(0, WAITS_FOR_OWNERS_MAX),
    };
  }

  #place(
    state: ReservedKey,
    {
      owner,
      untilMs,
      wanted,
    }: { readonly owner: Timestamp; readonly untilMs: number; readonly wanted: Wanted },
  ): boolean {
    const known = state.queue.find(owner);
    if (known !== undefined && known.strength >= wanted.strength && known.isUpgrade === wanted.isUpgrade) {
      known.untilMs = untilMs;
    } else {
      if (known !== undefined) this.#removePlace(state, owner);
      if (!this.#budget.takePlace()) return false;
      state.queue.add(owner, wanted, untilMs);
      this.#waiting += 1;
      this.#contended.add(state);
      // It went from the front to the back.
      if (known !== undefined) this.#served(state);
    }
    this.#due(untilMs);
    return true;
  }

  #undo(owner: Timestamp, taken: readonly Taken[]): void {
    for (const { state, before } of taken) {
      if (before === undefined) this.#drop(state, owner);
      else state.holders.set(owner, before);
      this.#served(state);
    }
  }

  /** The owner's reservations and places at these keys end. */
  release(owner: Timestamp, keys: Iterable<RowCacheKey>, nowMs: number): void {
    this.expire(nowMs);
    for (const key of keys) {
      const state = this.#keys.get(key);
      if (state === undefined) continue;
      const hadKey = this.#drop(state, owner);
      const hadPlace = this.#removePlace(state, owner);
      if (hadKey || hadPlace) this.#served(state);
    }
    this.#forgetOwner(owner);
  }

  /** Its question is held no more: the place is lost at `untilMs`. May be called by the listener. */
  keepPlace(key: RowCacheKey, owner: Timestamp, untilMs: number): void {
    const place = this.#keys.get(key)?.queue.find(owner);
    if (place === undefined) return;
    place.untilMs = untilMs;
    this.#due(untilMs);
  }

  /** A reservation of somebody else that a write of the key meets. `owner` 0 = nobody's. */
  inTheWay(key: RowCacheKey, change: KeyChange, owner: Timestamp, nowMs: number): Reserved | undefined {
    this.expire(nowMs);
    const state = this.#keys.get(key);
    return state === undefined ? undefined : foreignTo(state, change, owner);
  }

  /** Those that the deletion of all keys in [start, end) meets, at most as many as are told. */
  inTheWayIn(start: RowCacheKey, end: RowCacheKey | undefined, nowMs: number): Reserved[] {
    this.expire(nowMs);
    const found: Reserved[] = [];
    for (const key of this.#order.within(start, end)) {
      const state = this.#keys.get(key);
      const met = state === undefined ? undefined : foreignTo(state, 'delete', timestamp(0));
      if (met === undefined) continue;
      found.push(met);
      if (found.length === LOCKS_TOLD_MAX) break;
    }
    return found;
  }

  /** Ends what is over. */
  expire(nowMs: number): void {
    if (nowMs < this.#dueMs) return;
    this.#dueMs = Infinity;
    for (const [owner, { keys, untilMs }] of [...this.#owners]) {
      if (untilMs > nowMs) {
        this.#due(untilMs);
        continue;
      }
      for (const key of [...keys]) {
        const state = this.#keys.get(key);
        if (state !== undefined && this.#drop(state, owner)) this.#served(state);
      }
      this.#owners.delete(owner);
    }
    for (const state of [...this.#contended]) this.#expirePlaces(state, nowMs);
    this.#dueMs = Math.max(this.#dueMs, nowMs + EXPIRY_STEP_MS);
  }

  #expirePlaces(state: ReservedKey, nowMs: number): void {
    let isShorter = false;
    for (const { owner, untilMs } of state.queue.places()) {
      if (untilMs > nowMs) this.#due(untilMs);
      else isShorter = this.#removePlace(state, owner) || isShorter;
    }
    if (isShorter) this.#served(state);
  }

  #due(atMs: number): void {
    if (atMs < this.#dueMs) this.#dueMs = atMs;
  }

  /** Everything about keys outside of [start, end) is gone; `end` undefined = no bound. Nobody is told. */
  keepOnly(start: RowCacheKey, end: RowCacheKey | undefined): void {
    for (const state of [...this.#keys.values()]) {
      if (state.key < start || (end !== undefined && state.key >= end)) this.#dropAll(state);
    }
  }

  /** Everything is gone. Nobody is told. */
  clear(): void {
    for (const state of [...this.#keys.values()]) this.#dropAll(state);
    this.#owners.clear();
    this.#dueMs = Infinity;
  }

  #dropAll(state: ReservedKey): void {
    for (const owner of [...state.holders.keys()]) {
      this.#drop(state, owner);
      this.#forgetOwner(owner);
    }
    for (const { owner } of state.queue.places()) this.#removePlace(state, owner);
    this.#dropEmpty(state);
  }

  /** Somebody left it: it is free for those in front, or for everybody. */
  #served(state: ReservedKey): void {
    for (const { owner, strength } of state.queue.places()) {
      if (this.#isBlocked(state, owner, strength)) break;
      this.#listener.mayTake(state.key, owner);
    }
    this.#dropEmpty(state);
  }

  #drop(state: ReservedKey, owner: Timestamp): boolean {
    if (!state.holders.delete(owner)) return false;
    this.#owners.get(owner)?.keys.delete(state.key);
    this.#size -= 1;
    this.#budget.giveReservation();
    return true;
  }

  #removePlace(state: ReservedKey, owner: Timestamp): boolean {
    if (!state.queue.remove(owner)) return false;
    this.#waiting -= 1;
    this.#budget.givePlace();
    if (state.queue.size === 0) this.#contended.delete(state);
    return true;
  }

  #dropEmpty(state: ReservedKey): void {
    if (state.holders.size > 0 || state.queue.size > 0 || this.#keys.get(state.key) !== state) return;
    this.#keys.delete(state.key);
    this.#order.delete(state.key);
    this.#budget.giveBytes(bytesOf(state.key));
  }

  #forgetOwner(owner: Timestamp): void {
    if (this.#owners.get(owner)?.keys.size === 0) this.#owners.delete(owner);
  }
}

function bytesOf(key: RowCacheKey): number {
  return KEY_OVERHEAD_BYTES + 2 * key.length;
}

/** Whether two owners may not have a key at the same time. */
export function excludes(one: LockStrength, other: LockStrength): boolean {
  return one === LockStrength.exclusive || other === LockStrength.exclusive;
}

function wantedOf({ holders }: ReservedKey, owner: Timestamp, strength: LockStrength): Wanted {
  return { strength, isUpgrade: holders.has(owner) };
}

/** Other holders that exclude the strength, at most `max`. */
function foreignOf(
  { holders }: ReservedKey,
  owner: Timestamp,
  strength: LockStrength,
  max: number,
): Timestamp[] {
  const found: Timestamp[] = [];
  for (const [holder, held] of holders) {
    if (holder === owner) continue;
    // Of many that share, the first says that none is exclusive.
    if (!excludes(held, strength)) break;
    found.push(holder);
    if (found.length === max) break;
  }
  return found;
}

function foreignTo({ holders, key }: ReservedKey, change: KeyChange, owner: Timestamp): Reserved | undefined {
  for (const [holder, held] of holders) {
    if (holder === owner) continue;
    if (change === 'delete' || held !== LockStrength.keyShare) return { key, owner: holder };
  }
  return undefined;
}
