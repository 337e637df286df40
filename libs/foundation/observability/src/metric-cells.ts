import { assert } from '@cairn/base';

export type Labels = Readonly<Record<string, string>>;

/**
 * Most label combinations one metric may have. Labels may come from outside (the ids of stores, codes of
 * errors), so that more of them are no bug: they share the last cell.
 */
export const LABEL_SETS_MAX = 1_000;
/** What all labels of that cell say. */
const OTHER = 'other';

/**
 * The cells of one metric, one per combination of label values. A labels object that is passed again and
 * again is found by identity, so callers on hot paths keep theirs; others are found by their values.
 */
export class CellMap<Cell> {
  readonly #name: string;
  readonly #labelNames: readonly string[];
  readonly #create: () => Cell;
  readonly #byIdentity = new WeakMap<Labels, Cell>();
  readonly #byValues = new Map<string, { readonly labels: Labels; readonly cell: Cell }>();
  #unlabelled: Cell | undefined;

  constructor(name: string, labelNames: readonly string[], create: () => Cell) {
    this.#name = name;
    this.#labelNames = labelNames;
    this.#create = create;
    // A series without labels exists from the start, at zero, so that rates over it are right from the first
    // event on.
    if (labelNames.length === 0) this.#unlabelled = this.#find({});
  }

  /** The cell of these labels, made on first use. Asserts that exactly the declared labels are given. */
  cell(labels: Labels | undefined): Cell {
    if (labels === undefined) {
      this.#unlabelled ??= this.#find({});
      return this.#unlabelled;
    }
    const known = this.#byIdentity.get(labels);
    if (known !== undefined) return known;
    const found = this.#find(labels);
    this.#byIdentity.set(labels, found);
    return found;
  }

  #find(labels: Labels): Cell {
    const values = this.#labelNames.map((name) => labels[name]);
    const complete = Object.keys(labels).length === values.length && !values.includes(undefined);
    assert(complete, 'a metric was used with other labels than declared', {
      metric: this.#name,
      declared: this.#labelNames.join(' '),
      given: Object.keys(labels).join(' '),
    });
    const known = this.#byValues.get(JSON.stringify(values));
    if (known !== undefined) return known.cell;
    if (this.#byValues.size < LABEL_SETS_MAX - 1) return this.#add(labels);
    const others = Object.fromEntries(this.#labelNames.map((name) => [name, OTHER]));
    return this.#byValues.get(JSON.stringify(Object.values(others)))?.cell ?? this.#add(others);
  }

  #add(labels: Labels): Cell {
    const cell = this.#create();
    const key = JSON.stringify(this.#labelNames.map((name) => labels[name]));
    this.#byValues.set(key, { labels: { ...labels }, cell });
    return cell;
  }

  entries(): Iterable<{ readonly labels: Labels; readonly cell: Cell }> {
    return this.#byValues.values();
  }
}

/** One number. */
export interface NumberCell {
  value: number;
}

/**
 * One distribution: `counts[i]` observations at or below bound i and above the one before; the last is the
 * rest.
 */
export interface HistogramCell {
  readonly counts: Float64Array;
  sum: number;
  count: number;
}

/** Index of the first bound that is not below the value; `bounds.length` when all are. */
export function bucketOf(bounds: readonly number[], value: number): number {
  let low = 0;
  let high = bounds.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((bounds[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
