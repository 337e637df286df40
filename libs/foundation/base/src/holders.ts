/** Who has lagged for so long is ended when somebody has no room for what everybody is to have … */
const LAG_BELOW_FLOOR_MS = 1_000;
/** … and for so long when somebody has no room for more: it has outlived the usual deadline of a call. */
const LAG_MS = 10_000;
/** When nobody was found who may be ended, it is not looked again for so long. */
const LOOK_AGAIN_MS = 50;
/**
 * A longer lag counts as this one: whoever holds a little for days is not worse than who holds much for
 * seconds.
 */
const LAG_COUNTED_MS_MAX = 10_000;

/** What holds something of a bound for as long as somebody outside likes: a call, a stream, a connection. */
export abstract class Holder {
  /** Whose it is: what one caller holds counts together. */
  abstract readonly caller: unknown;
  heldBytes = 0;
  /** Since when that somebody is behind; Infinity while it is not. */
  heldSinceMs = Infinity;
  /** For `Holders` alone, like the next two. */
  lookAgainMs = -Infinity;
  next: Holder | undefined = undefined;
  previous: Holder | undefined = undefined;

  /** Ends it at once: drops what it holds, and gives it back. */
  abstract cutOff(): void;
}

/** What a look found of one caller: its holders that lag, what they hold and for how long they lag. */
interface Lag {
  readonly holders: Holder[];
  bytes: number;
  lagMs: number;
}

/**
 * Those that hold something of one bound, and whom to end when there is no room: see `FairShare` for when
 * that is.
 */
export class Holders {
  readonly nowMs: () => number;
  /**
   * A list through them: it costs nothing but two links to come and go. Bounded by the calls that are open.
   */
  #first: Holder | undefined;
  /**
   * By the lag that was looked for, one of two: whoever finds nobody who lags long must not keep others from
   * those that lag less.
   */
  readonly #lookAgainMs = new Map<number, number>();
  #ended = 0;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** So many holders were ended since the start. */
  get ended(): number {
    return this.#ended;
  }

  add(holder: Holder): void {
    holder.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = holder;
    this.#first = holder;
  }

  remove(holder: Holder): void {
    const { next, previous } = holder;
    if (next !== undefined) next.previous = previous;
    if (previous !== undefined) previous.next = next;
    else if (this.#first === holder) this.#first = next;
    holder.next = undefined;
    holder.previous = undefined;
  }

  /**
   * Ends what lags, of the caller that has held most for longest; not who is asking. A short lag is enough
   * when the room is for somebody below the floor (`FairShare.isBelowFloor`). Answers false when nobody lags
   * so far.
   */
  endLaggard(isBelowFloor: boolean, asking: Holder | undefined): boolean {
    const lagMsMin = isBelowFloor ? LAG_BELOW_FLOOR_MS : LAG_MS;
    const nowMs = this.nowMs();
    const lookAgainMs = this.#lookAgainMs.get(lagMsMin) ?? -Infinity;
    if (nowMs < Math.max(lookAgainMs, asking?.lookAgainMs ?? -Infinity)) return false;
    const ended = this.#worst(nowMs, lagMsMin, asking);
    if (ended.length === 0) {
      // When only the one who asks lags, others learn nothing from it.
      if (asking !== undefined && lagOf(asking, nowMs) >= lagMsMin)
        asking.lookAgainMs = nowMs + LOOK_AGAIN_MS;
      else this.#lookAgainMs.set(lagMsMin, nowMs + LOOK_AGAIN_MS);
      return false;
    }
    this.#ended += ended.length;
    for (const holder of ended) holder.cutOff();
    return true;
  }

  /** All that lag of the caller that has held most for longest, who asks aside. */
  #worst(nowMs: number, lagMsMin: number, asking: Holder | undefined): readonly Holder[] {
    const lags = new Map<unknown, Lag>();
    let worst: Lag | undefined;
    for (let holder = this.#first; holder !== undefined; holder = holder.next) {
      const lagMs = lagOf(holder, nowMs);
      if (lagMs < lagMsMin || holder === asking) continue;
      let lag = lags.get(holder.caller);
      if (lag === undefined) {
        lag = { holders: [], bytes: 0, lagMs: 0 };
        lags.set(holder.caller, lag);
      }
      lag.holders.push(holder);
      lag.bytes += holder.heldBytes;
      lag.lagMs = Math.max(lag.lagMs, Math.min(lagMs, LAG_COUNTED_MS_MAX));
      if (worst === undefined || lag.bytes * lag.lagMs > worst.bytes * worst.lagMs) worst = lag;
    }
    return worst?.holders ?? [];
  }
}

function lagOf({ heldBytes, heldSinceMs }: Holder, nowMs: number): number {
  return heldBytes > 0 ? nowMs - heldSinceMs : 0;
}
