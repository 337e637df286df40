import { changeBytesOf, type Change } from '@cairn/wire';

import { ownCopy } from './feed.js';
import { comparePositions, inOrder, type Position } from './positions.js';

/** What is looked through before it is put in order: as much again as may be kept. */
const SLACK = 2;

/**
 * The first changes, in order, of any number that come in any order: as many as its bounds allow, and one in
 * any case.
 */
export class Selection {
  readonly #behind: Position;
  readonly #bytesMax: number;
  readonly #countMax: number;
  #kept: Change[] = [];
  #bytes = 0;
  /** The first of those that were left out. */
  #leftOut: Position | undefined;

  /** Only what stands behind the position counts. */
  constructor(
    behind: Position,
    { bytesMax, countMax }: { readonly bytesMax: number; readonly countMax: number },
  ) {
    this.#behind = behind;
    this.#bytesMax = bytesMax;
    this.#countMax = countMax;
  }

  /** Some were left out. */
  get isCut(): boolean {
    return this.#leftOut !== undefined;
  }

  add(change: Change): void {
    if (comparePositions(change, this.#behind) <= 0) return;
    if (this.#leftOut !== undefined && comparePositions(change, this.#leftOut) >= 0) return;
    this.#kept.push(ownCopy(change));
    this.#bytes += changeBytesOf(change);
    if (this.#bytes > SLACK * this.#bytesMax || this.#kept.length > SLACK * this.#countMax) this.#cut();
  }

  /** In order; all of them stand before what was left out. */
  take(): Change[] {
    this.#cut();
    return this.#kept;
  }

  #cut(): void {
    const kept: Change[] = [];
    let bytes = 0;
    for (const change of inOrder(this.#kept)) {
      const more = changeBytesOf(change);
      const isFull = kept.length >= this.#countMax || bytes + more > this.#bytesMax;
      if (isFull && kept.length > 0) {
        this.#leftOut = change;
        break;
      }
      kept.push(change);
      bytes += more;
    }
    this.#kept = kept;
    this.#bytes = bytes;
  }
}
