import { assert } from '@cairn/base';

const STEP = 4294967296;
/** Segments above the base up to which every position is exact: below 2^53 in all. */
const EPOCHS_MAX = 2 ** 21;

/**
 * Places in the log, segment epoch and offset in one number, ordered like the log itself and exact. Epochs
 * count from a base, which follows the oldest segment: a position means something only within this process,
 * and only until the base moves. What keeps positions is told by how much theirs fall then.
 */
export class LogPlaces {
  #base: number;

  /** `base`: the epoch of the oldest segment. */
  constructor(base: number) {
    this.#base = base;
  }

  of(epoch: number, offset: number): number {
    return (epoch - this.#base) * STEP + offset;
  }

  epochOf(position: number): number {
    return Math.floor(position / STEP) + this.#base;
  }

  offsetOf(position: number): number {
    return position % STEP;
  }

  /** Whether the base is so far behind the oldest segment that it should move there. */
  isFarBehind(oldestEpoch: number, epochsMax: number): boolean {
    return oldestEpoch - this.#base >= epochsMax;
  }

  /** A segment begins. Live segments never come near the bound: they would fill a disk of 64 TiB and more. */
  checkEpoch(epoch: number): void {
    assert(epoch - this.#base < EPOCHS_MAX, 'too many live segments', { epoch, base: this.#base });
  }

  /** The epochs count from here now. Answers by how much all positions fall. */
  moveBase(epoch: number): number {
    const fall = (epoch - this.#base) * STEP;
    this.#base = epoch;
    return fall;
  }
}
