import { assert } from '@cairn/base';

/**
 * How fast merging may go beside writes, in bytes. Without a pace the merge of a large level takes what the
 * processor has to give, for as long as it takes: everybody else feels it, and then nothing for minutes.
 *
 * A row that was written out is rewritten once for each level above 0 that it comes to. So merging keeps up
 * when it may write, for each of these levels and for one that is being made, as many bytes as are flushed;
 * once more as many let it catch up. What merging owes is paid by flushes, or by waiting.
 */
export class MergePace {
  readonly #savedBytesMax: number;
  #owedBytes = 0;

  /** `savedBytesMax`: what may be saved for later, so that a quiet hour does not end in a burst. */
  constructor(savedBytesMax: number) {
    assert(savedBytesMax >= 0, 'a pace cannot save less than nothing', { savedBytesMax });
    this.#savedBytesMax = savedBytesMax;
  }

  /** Whether the next step of a merge may begin. */
  get mayGoOn(): boolean {
    return this.#owedBytes <= 0;
  }

  /** `deepestLevel`: of the runs there are, 0 with none. */
  flushed(bytes: number, deepestLevel: number): void {
    this.#owedBytes = Math.max(-this.#savedBytesMax, this.#owedBytes - bytes * (deepestLevel + 2));
  }

  merged(bytes: number): void {
    this.#owedBytes += bytes;
  }

  /** Merging has waited for long enough. */
  waited(): void {
    this.#owedBytes = Math.min(this.#owedBytes, 0);
  }
}
