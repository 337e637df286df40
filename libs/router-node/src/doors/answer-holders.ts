import type { Caller } from './callers.js';

/** When nobody was found who may be ended, it is not looked again for so long. */
const LOOK_AGAIN_MS = 50;

/** A call or a stream that may have answers which its client has not taken. */
export abstract class AnswerHolder {
  abstract readonly caller: Caller;
  /** Bytes of them. */
  heldBytes = 0;
  /** How long the client has been behind: when about the oldest of them was made. Infinity while it is not. */
  heldSinceMs = Infinity;
  /** For `AnswerHolders` alone. */
  next: AnswerHolder | undefined = undefined;
  previous: AnswerHolder | undefined = undefined;

  /** Ends it at once: drops what it holds, and gives it back. */
  abstract cutOff(): void;
}

interface Lag {
  bytes: number;
  lagMs: number;
}

/** Those that hold something of one bound, and whom to end when there is no room. */
export class AnswerHolders {
  readonly nowMs: () => number;
  /** A list through them: it costs nothing but two links to come and go. Bounded by the calls that are open. */
  #first: AnswerHolder | undefined;
  #lookAgainMs = -Infinity;
  #ended = 0;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** How many were ended. */
  get ended(): number {
    return this.#ended;
  }

  add(holder: AnswerHolder): void {
    holder.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = holder;
    this.#first = holder;
  }

  remove(holder: AnswerHolder): void {
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
  endLaggard(lagMsMin: number, asking: AnswerHolder | undefined): boolean {
    const nowMs = this.nowMs();
    if (nowMs < this.#lookAgainMs) return false;
    const worst = this.#worst(nowMs, lagMsMin);
    const ended: AnswerHolder[] = [];
    for (let holder = this.#first; holder !== undefined && worst !== undefined; holder = holder.next) {
      const isMeant = holder.caller === worst && holder !== asking;
      if (isMeant && lagOf(holder, nowMs) >= lagMsMin) ended.push(holder);
    }
    if (ended.length === 0) {
      this.#lookAgainMs = nowMs + LOOK_AGAIN_MS;
      return false;
    }
    this.#ended += ended.length;
    for (const holder of ended) holder.cutOff();
    return true;
  }

  #worst(nowMs: number, lagMsMin: number): Caller | undefined {
    const lags = new Map<Caller, Lag>();
    for (let holder = this.#first; holder !== undefined; holder = holder.next) {
      const lagMs = lagOf(holder, nowMs);
      if (lagMs < lagMsMin) continue;
      const lag = lags.get(holder.caller);
      if (lag === undefined) lags.set(holder.caller, { bytes: holder.heldBytes, lagMs });
      else {
        lag.bytes += holder.heldBytes;
        lag.lagMs = Math.max(lag.lagMs, lagMs);
      }
    }
    let worst: Caller | undefined;
    let most = 0;
    for (const [caller, { bytes, lagMs }] of lags) {
      if (bytes * lagMs <= most) continue;
      most = bytes * lagMs;
      worst = caller;
    }
    return worst;
  }
}

function lagOf({ heldBytes, heldSinceMs }: AnswerHolder, nowMs: number): number {
  return heldBytes > 0 ? nowMs - heldSinceMs : 0;
}
