import { assert, type Timestamp } from '@cairn/base';
import { LockStrength } from '@cairn/wire';

/** The place of an owner in the queue of a key. */
export interface Place {
  readonly owner: Timestamp;
  readonly strength: LockStrength;
  /** Its owner has the key, and wants more of it: it stands in front of those that have nothing. */
  readonly isUpgrade: boolean;
  /** Whoever has less comes first. */
  readonly rank: number;
  /** It is lost then; Infinity = its question is held. */
  untilMs: number;
}

/** Links to the neighbours, which are nobody else's business. */
interface LinkedPlace extends Place {
  before: LinkedPlace | undefined;
  behind: LinkedPlace | undefined;
}

/** What somebody without a place asks for. */
export type Wanted = Pick<Place, 'strength' | 'isUpgrade'>;

/**
 * Who waits for one key: upgrades first, then first come first served. One place for each owner. Not bounded
 * by itself: see `ReservationBudget`.
 */
export class WaitQueue {
  readonly #byOwner = new Map<Timestamp, LinkedPlace>();
  #first: LinkedPlace | undefined;
  #last: LinkedPlace | undefined;
  #lastUpgrade: LinkedPlace | undefined;
  #firstExclusive: LinkedPlace | undefined;
  #nextRank = 0;
  #nextUpgradeRank = Number.MIN_SAFE_INTEGER;

  get size(): number {
    return this.#byOwner.size;
  }

  find(owner: Timestamp): Place | undefined {
    return this.#byOwner.get(owner);
  }

  /** A place behind all that go first. The owner must have none. */
  add(owner: Timestamp, wanted: Wanted, untilMs: number): Place {
    assert(!this.#byOwner.has(owner), 'an owner has one place in a queue');
    const { isUpgrade, strength } = wanted;
    const before = isUpgrade ? this.#lastUpgrade : this.#last;
    const behind = before === undefined ? this.#first : before.behind;
    const rank = isUpgrade ? this.#nextUpgradeRank++ : this.#nextRank++;
    const place: LinkedPlace = { owner, strength, isUpgrade, rank, untilMs, before, behind };
    this.#byOwner.set(owner, place);
    if (before === undefined) this.#first = place;
    else before.behind = place;
    if (behind === undefined) this.#last = place;
    else behind.before = place;
    if (isUpgrade) this.#lastUpgrade = place;
    const exclusive = this.#firstExclusive;
    if (strength === LockStrength.exclusive && (exclusive === undefined || rank < exclusive.rank)) {
      this.#firstExclusive = place;
    }
    return place;
  }

  /** Answers whether the owner had a place. */
  remove(owner: Timestamp): boolean {
    const place = this.#byOwner.get(owner);
    if (place === undefined) return false;
    this.#byOwner.delete(owner);
    const { before, behind } = place;
    if (before === undefined) this.#first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
    if (place === this.#lastUpgrade) this.#lastUpgrade = before;
    if (place === this.#firstExclusive) this.#firstExclusive = nextExclusive(behind);
    return true;
  }

  /** Whether somebody in front is in the way; of one without a place: of all that go before it. */
  isInTheWay(wanted: Wanted, place: Place | undefined): boolean {
    const rank = place?.rank ?? (wanted.isUpgrade ? this.#nextUpgradeRank : Infinity);
    const first = wanted.strength === LockStrength.exclusive ? this.#first : this.#firstExclusive;
    return first !== undefined && first.rank < rank;
  }

  /**
   * Who is in the way in front, nearest first: everybody up to one that is itself behind all of those before
   * it. At most `max`.
   */
  inFront(wanted: Wanted, place: Place | undefined, max: number): Timestamp[] {
    if (wanted.strength !== LockStrength.exclusive) {
      const exclusive = this.#firstExclusive;
      return exclusive !== undefined && this.isInTheWay(wanted, place) ? [exclusive.owner] : [];
    }
    const own = place === undefined ? undefined : this.#byOwner.get(place.owner);
    let at = own === undefined ? (wanted.isUpgrade ? this.#lastUpgrade : this.#last) : own.before;
    const owners: Timestamp[] = [];
    while (at !== undefined && owners.length < max) {
      owners.push(at.owner);
      if (at.strength === LockStrength.exclusive) break;
      at = at.before;
    }
    return owners;
  }

  /** In the order in which they are served. One may be removed while it is shown. */
  *places(): Generator<Place> {
    let at = this.#first;
    while (at !== undefined) {
      const next: LinkedPlace | undefined = at.behind;
      yield at;
      at = next;
    }
  }
}

function nextExclusive(from: LinkedPlace | undefined): LinkedPlace | undefined {
  let at = from;
  while (at !== undefined && at.strength !== LockStrength.exclusive) at = at.behind;
  return at;
}
