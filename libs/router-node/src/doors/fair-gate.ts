import { assert, CairnError } from '@cairn/base';

interface Waiting {
  readonly signal: AbortSignal;
  readonly open: () => void;
  readonly giveUp: () => void;
}

/**
 * Lets a bounded number in at a time. Those who wait get in by turns of their callers, whatever number each
 * has waiting. What waits is bounded by whoever calls: a scan waits once.
 */
export class FairGate<Caller extends object> {
  readonly #placesMax: number;
  readonly #lines = new Map<Caller, Waiting[]>();
  #taken = 0;
  #waiting = 0;

  constructor(placesMax: number) {
    this.#placesMax = placesMax;
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
    if (this.#taken < this.#placesMax) {
      this.#taken += 1;
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

  leave(): void {
    assert(this.#taken > 0, 'left more often than entered');
    const first = this.#lines.entries().next();
    if (first.done === true) {
      this.#taken -= 1;
      return;
    }
    // The place goes to the next caller's first; that caller goes behind the others.
    const [caller, line] = first.value;
    const next = line.shift();
    assert(next !== undefined, 'a line holds somebody');
    this.#lines.delete(caller);
    if (line.length > 0) this.#lines.set(caller, line);
    this.#waiting -= 1;
    next.signal.removeEventListener('abort', next.giveUp);
    next.open();
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
