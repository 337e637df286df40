/**
 * One way things may stand: the state of the register, and which open operations have happened. Masks have a
 * bit per slot of an open operation of known outcome.
 */
export interface Configuration {
  readonly state: number;
  /**
   * Need not happen any more: they happened, or (writes) somebody wrote after they began, right before whom
   * they may have happened unseen.
   */
  readonly covered: Int32Array;
  /** Writes that happened visibly; a covered write outside this mask may still be made visible. */
  readonly used: Int32Array;
  /** Operations of unknown outcome that happened: kind, number, kind, number, ..., by ascending kind. */
  readonly spent: readonly number[];
}

export function hasBit(mask: Int32Array, slot: number): boolean {
  return ((mask[slot >>> 5] as number) & (1 << (slot & 31))) !== 0;
}

export function setBit(mask: Int32Array, slot: number): void {
  mask[slot >>> 5] = (mask[slot >>> 5] as number) | (1 << (slot & 31));
}

export function clearBit(mask: Int32Array, slot: number): void {
  mask[slot >>> 5] = (mask[slot >>> 5] as number) & ~(1 << (slot & 31));
}

function isSubset(inner: Int32Array, outer: Int32Array): boolean {
  for (let at = 0; at < inner.length; at += 1) {
    if (((inner[at] as number) & ~(outer[at] as number)) !== 0) return false;
  }
  return true;
}

export function spentOf(spent: readonly number[], kind: number): number {
  for (let at = 0; at < spent.length; at += 2) if (spent[at] === kind) return spent[at + 1] as number;
  return 0;
}

export function spendOne(spent: readonly number[], kind: number): number[] {
  const result: number[] = [];
  let isDone = false;
  for (let at = 0; at < spent.length; at += 2) {
    const [each, count] = [spent[at] as number, spent[at + 1] as number];
    if (!isDone && each >= kind) {
      isDone = true;
      if (each === kind) {
        result.push(kind, count + 1);
        continue;
      }
      result.push(kind, 1);
    }
    result.push(each, count);
  }
  if (!isDone) result.push(kind, 1);
  return result;
}

function spendsAtMost(one: readonly number[], other: readonly number[]): boolean {
  if (one.length > other.length) return false;
  let place = 0;
  for (let at = 0; at < one.length; at += 2) {
    while (place < other.length && (other[place] as number) < (one[at] as number)) place += 2;
    if (other[place] !== one[at] || (other[place + 1] as number) < (one[at + 1] as number)) return false;
  }
  return true;
}

/** Whatever can follow `other` can also follow `one`. Both are of one state. */
function dominates(one: Configuration, other: Configuration): boolean {
  return (
    isSubset(other.covered, one.covered) &&
    isSubset(one.used, other.used) &&
    spendsAtMost(one.spent, other.spent)
  );
}

export function keyOf({ state, covered, used, spent }: Configuration): string {
  return `${state};${covered.join()};${used.join()};${spent.join()}`;
}

function bitCount(mask: Int32Array): number {
  let count = 0;
  for (const word of mask) for (let rest = word; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

/** The better, the more is still possible. */
function promise({ covered, used, spent }: Configuration): number {
  let total = 0;
  for (let at = 1; at < spent.length; at += 2) total += spent[at] as number;
  return bitCount(covered) - bitCount(used) - total;
}

/** Configurations none of which makes another one superfluous. */
export class Frontier {
  readonly #byState = new Map<number, Configuration[]>();
  size = 0;

  add(configuration: Configuration): void {
    const { state } = configuration;
    const others = this.#byState.get(state);
    if (others === undefined) {
      this.#byState.set(state, [configuration]);
      this.size += 1;
      return;
    }
    for (const other of others) if (dominates(other, configuration)) return;
    let kept = 0;
    for (const other of others) if (!dominates(configuration, other)) others[kept++] = other;
    this.size += kept + 1 - others.length;
    others.length = kept;
    others.push(configuration);
  }

  *[Symbol.iterator](): Generator<Configuration> {
    for (const each of this.#byState.values()) yield* each;
  }

  /** Keeps the most promising ones. True when it had to leave some out. */
  trim(widthMax: number): boolean {
    if (this.size <= widthMax) return false;
    const ranked = [...this].map((each) => ({ each, rank: promise(each) })).sort((a, b) => b.rank - a.rank);
    this.#byState.clear();
    this.size = 0;
    for (const { each } of ranked.slice(0, widthMax)) this.add(each);
    return true;
  }
}
