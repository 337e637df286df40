import { assert, type LogIndex, type Term } from '@cairn/base';

/**
 * The terms of a log as runs of equal terms: a log has few leaders, so this is small whatever its length.
 * `starts[i]` is the first index of run i; a run ends where the next begins.
 */
export class TermRuns {
  readonly #starts: number[] = [];
  readonly #terms: Term[] = [];

  /** Forgets all and begins with the entry before the first one. */
  reset(index: LogIndex, term: Term): void {
    this.#starts.length = 0;
    this.#terms.length = 0;
    this.#starts.push(index);
    this.#terms.push(term);
  }

  push(index: LogIndex, term: Term): void {
    if (this.#terms.at(-1) !== term) {
      this.#starts.push(index);
      this.#terms.push(term);
    }
  }

  /** Term of an index at or above the first run's start. */
  termAt(index: LogIndex): Term {
    const starts = this.#starts;
    let at = starts.length - 1;
    // The newest run answers nearly always.
    if ((starts[at] as number) > index) {
      let low = 0;
      while (low < at) {
        const middle = (low + at + 1) >> 1;
        if ((starts[middle] as number) <= index) low = middle;
        else at = middle - 1;
      }
    }
    const term = this.#terms[at];
    assert(term !== undefined && (starts[at] as number) <= index, 'index below the first run');
    return term;
  }

  /** Forgets everything from `index` on. */
  cutFrom(index: LogIndex): void {
    while (this.#starts.length > 1 && (this.#starts.at(-1) as number) >= index) {
      this.#starts.pop();
      this.#terms.pop();
    }
  }

  /** Forgets everything below `index`, whose term is known to be in a run. */
  cutBelow(index: LogIndex): void {
    let count = 0;
    while (count + 1 < this.#starts.length && (this.#starts[count + 1] as number) <= index) count += 1;
    if (count > 0) {
      this.#starts.splice(0, count);
      this.#terms.splice(0, count);
    }
    this.#starts[0] = index;
  }

  /** States the term of the entry before the first one; `index` starts the first run. */
  setBase(index: LogIndex, term: Term): void {
    assert(this.#starts[0] === index, 'the base is not where the runs begin');
    if (this.#terms[0] === term) return;
    if (this.#starts[1] !== index + 1) {
      // The first run goes on behind the base with the term it had.
      this.#starts.splice(1, 0, index + 1);
      this.#terms.splice(1, 0, this.#terms[0] as Term);
    }
    this.#terms[0] = term;
  }
}
