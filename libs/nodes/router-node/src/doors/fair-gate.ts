import { assert, CairnError } from '@cairn/base';

interface Waiting {
  readonly signal: AbortSignal;
  readonly open: () => void;
  readonly giveUp: () => void;
}

/**
 * Lets a bounded number in at a time, and of each caller no more than its part. Those who wait get in by
 * turns of their callers, whatever number each has waiting. What waits is bounded by whoever calls: a scan
 * waits once, and so does a call.
 */
export class FairGate<Caller> {
  readonly #placesMax: number;
  readonly #perCallerMax: number;
  readonly #inside = new Map<Caller, number>();
  readonly #lines = new Map<Caller, Waiting[]>();
  #taken = 0;
  #waiting = 0;

  constructor(placesMax: number, perCallerMax = placesMax) {
    this.#placesMax = placesMax;
    this.#perCallerMax = perCallerMax;
  }

  get taken(): number {
    return this.#taken;
  }
  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when it is in; `leave` must follow. Rejects CANCELLED when the signal aborts before. */
  enter(caller: Caller, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(cancelled());
    if (this.#hasPlace(caller)) {
      this.#take(caller);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#remove(caller, waiting);
        reject(cancelled());
      };
      const waiting: Waiting = { signal, open: resolve, giveUp };
      signal.addEventListener('abort', giveUp, { once: true });
      const line = this.#lines.get(caller);
      if (line === undefined) this.#lines.set(caller, [waiting]);
      else line.push(waiting);
      this.#waiting += 1;
    });
  }

  leave(caller: Caller): void {
    const inside = this.#inside.get(caller);
    assert(inside !== undefined, 'left more often than entered');
    if (inside === 1) this.#inside.delete(caller);
    else this.#inside.set(caller, inside - 1);
    this.#taken -= 1;
    // The place goes to the first of the next caller that may have one; that caller goes behind the others.
    for (const [next, line] of this.#lines) {
      if (!this.#hasPlace(next)) continue;
      const first = line.shift();
      assert(first !== undefined, 'a line holds somebody');
      this.#lines.delete(next);
      if (line.length > 0) this.#lines.set(next, line);
      this.#waiting -= 1;
      this.#take(next);
      first.signal.removeEventListener('abort', first.giveUp);
      first.open();
      return;
    }
  }

  #hasPlace(caller: Caller): boolean {
    return this.#taken < this.#placesMax && (this.#inside.get(caller) ?? 0) < this.#perCallerMax;
  }

  #take(caller: Caller): void {
    this.#inside.set(caller, (this.#inside.get(caller) ?? 0) + 1);
    this.#taken += 1;
  }

  #remove(caller: Caller, waiting: Waiting): void {
    const line = this.#lines.get(caller);
    const at = line?.indexOf(waiting) ?? -1;
    assert(line !== undefined && at >= 0, 'who gives up was waiting');
    line.splice(at, 1);
    if (line.length === 0) this.#lines.delete(caller);
    this.#waiting -= 1;
  }
}

function cancelled(): CairnError {
  return new CairnError('CANCELLED', 'the caller gave up');
}
