/** Work of one caller that waits for a slot. */
type Waiting = (() => Promise<void>)[];

/**
 * Bounds how many scans read the engine of one store at once; others wait in line, and beyond that are
 * refused. Callers take turns, and one of them may hold as many places of the line as are still free, so half
 * of it when it is alone: whoever comes later finds room and is not served behind all that came before.
 */
export class ScanSlots {
  readonly #slotsMax: number;
  readonly #waitingMax: number;
  #used = 0;
  #waitingCount = 0;
  /** By caller, in the order of their next turns. */
  readonly #waiting = new Map<object, Waiting>();

  constructor(slotsMax: number, waitingMax: number) {
    this.#slotsMax = slotsMax;
    this.#waitingMax = waitingMax;
  }

  /** Scans that wait, for metrics. */
  get waitingCount(): number {
    return this.#waitingCount;
  }

  /**
   * Runs the work when a slot is free. Answers false when too many wait already, in all or of this caller.
   */
  run(caller: object, work: () => Promise<void>): boolean {
    if (this.#used < this.#slotsMax) {
      this.#begin(work);
      return true;
    }
    const line = this.#waiting.get(caller);
    if ((line?.length ?? 0) >= this.#waitingMax - this.#waitingCount) return false;
    this.#waitingCount += 1;
    if (line === undefined) this.#waiting.set(caller, [work]);
    else line.push(work);
    return true;
  }

  #begin(work: () => Promise<void>): void {
    this.#used += 1;
    void work().finally(() => {
      this.#used -= 1;
      this.#beginNext();
    });
  }

  #beginNext(): void {
    const first = this.#waiting.entries().next();
    if (first.done === true) return;
    const [caller, line] = first.value;
    const work = line.shift();
    this.#waiting.delete(caller);
    if (line.length > 0) this.#waiting.set(caller, line);
    if (work === undefined) return;
    this.#waitingCount -= 1;
    this.#begin(work);
  }
}
