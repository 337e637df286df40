/** When nobody was found who may be ended, it is not looked again for so long. */
const LOOK_AGAIN_MS = 50;

/** What holds something of a bound for as long as somebody outside likes: a call, a stream, a connection. */
export abstract class Holder {
  /** Whose it is: what one caller holds counts together. */
  abstract readonly caller: unknown;
  heldBytes = 0;
  /** Since when that somebody is behind; Infinity while it is not. */
  heldSinceMs = Infinity;
  /** For `Holders` alone. */
  next: Holder | undefined = undefined;
  previous: Holder | undefined = undefined;

  /** Ends it at once: drops what it holds, and gives it back. */
  abstract cutOff(): void;
}

/** Of one caller. */
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
  /** A list through them: it costs nothing but two links to come and go. Bounded by the calls that are open. */
  #first: Holder | undefined;
  #lookAgainMs = -Infinity;
  #ended = 0;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** How many were ended. */
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
   * Ends what has lagged for `lagMsMin`, of the caller that has held most for longest; not who is asking.
   * Answers false when nobody lags so far.
   */
  endLaggard(lagMsMin: number, asking: Holder | undefined): boolean {
    const nowMs = this.nowMs();
    if (nowMs < this.#lookAgainMs) return false;
    const worst = this.#worst(nowMs, lagMsMin);
    const ended = worst.filter((holder) => holder !== asking);
    if (ended.length === 0) {
      this.#lookAgainMs = nowMs + LOOK_AGAIN_MS;
      return false;
    }
    this.#ended += ended.length;
    for (const holder of ended) holder.cutOff();
    return true;
  }

  /** All that lag of the caller that has held most for longest. */
  #worst(nowMs: number, lagMsMin: number): readonly Holder[] {
    const lags = new Map<unknown, Lag>();
    let worst: Lag | undefined;
    for (let holder = this.#first; holder !== undefined; holder = holder.next) {
      const lagMs = holder.heldBytes > 0 ? nowMs - holder.heldSinceMs : 0;
      if (lagMs < lagMsMin) continue;
      let lag = lags.get(holder.caller);
      if (lag === undefined) {
        lag = { holders: [], bytes: 0, lagMs: 0 };
        lags.set(holder.caller, lag);
      }
      lag.holders.push(holder);
      lag.bytes += holder.heldBytes;
      lag.lagMs = Math.max(lag.lagMs, lagMs);
      if (worst === undefined || lag.bytes * lag.lagMs > worst.bytes * worst.lagMs) worst = lag;
    }
    return worst?.holders ?? [];
  }
}
