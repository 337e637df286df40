import { nameText, type Name, type Transaction } from '../transactions.js';
import { listText, told, type Clock } from './explain.js';
import type { Findings } from './findings.js';
import type { KeyHistory, Read } from './key-histories.js';

/** Of a read that fits no order of its key. */
export const NOWHERE = -1;

/** The order of the versions of one key, as far as reads show it. */
export interface KeyOrder {
  readonly history: KeyHistory;
  /** Elements of transactions that did not fail, in order. */
  readonly elements: readonly Name[];
  /** How many of them each read of the history saw; `NOWHERE` where it contradicts the order. */
  readonly positions: Int32Array;
}

/** The list without what repeats an earlier element; the list itself where nothing does. */
function withoutRepeats(list: readonly Name[]): readonly Name[] {
  const unique = new Set(list);
  return unique.size === list.length ? list : [...unique];
}

/** Whether the first `length` elements of the list are the first of the order. */
function isPrefix(list: readonly Name[], length: number, order: readonly Name[]): boolean {
  if (length > order.length) return false;
  for (let at = 0; at < length; at += 1) if (list[at] !== order[at]) return false;
  return true;
}

/** Of each number of elements of a list, how many different ones they are. */
function distinctCounts(list: readonly Name[]): Int32Array {
  const seen = new Set<Name>();
  const counts = new Int32Array(list.length + 1);
  for (const [at, element] of list.entries()) counts[at + 1] = seen.add(element).size;
  return counts;
}

/** What all keys have in common while their orders are found. */
export interface OrderContext {
  readonly transactions: readonly Transaction[];
  readonly findings: Findings;
  readonly clock: Clock;
  /** Set to 1 for each transaction whose appends some read shows. */
  readonly observed: Uint8Array;
}

/** Finds the order of one key, and what is wrong with its reads taken one by one. */
export class OrderFinder {
  readonly #history: KeyHistory;
  readonly #context: OrderContext;
  readonly #name: string;
  readonly #longest: Read | undefined;
  /** What the longest read shows, as it is; then without repeats. */
  readonly #raw: readonly Name[];
  readonly #order: readonly Name[];
  readonly #told = new Set<Name>();

  constructor(history: KeyHistory, context: OrderContext) {
    this.#history = history;
    this.#context = context;
    this.#name = nameText(history.key);
    let longest: Read | undefined;
    for (const read of history.reads) if (read.length > (longest?.length ?? 0)) longest = read;
    this.#longest = longest;
    this.#raw = longest?.list.slice(0, longest.length) ?? [];
    this.#order = withoutRepeats(this.#raw);
    if (longest !== undefined && this.#order !== this.#raw) this.#tellRepeats(longest);
  }

  find(): KeyOrder {
    const elements: Name[] = [];
    const counted = new Int32Array(this.#order.length + 1);
    for (const [at, element] of this.#order.entries()) {
      if (this.#isFromCommitted(element)) elements.push(element);
      counted[at + 1] = elements.length;
    }
    this.#findDirtyUpdates();
    this.#findTorn();
    const { reads } = this.#history;
    const positions = new Int32Array(reads.length);
    const distinct = this.#order === this.#raw ? undefined : distinctCounts(this.#raw);
    for (const [at, read] of reads.entries()) {
      const seen = isPrefix(read.list, read.length, this.#raw)
        ? (distinct?.[read.length] ?? read.length)
        : this.#placeOfOther(read);
      positions[at] = seen === NOWHERE ? NOWHERE : (counted[seen] as number);
      this.#findIntermediate(read);
    }
    return { history: this.#history, elements, positions };
  }

  #transaction(by: number): Transaction {
    return this.#context.transactions[by] as Transaction;
  }

  #add(
    name: 'duplicate-elements' | 'incompatible-order' | 'garbage-read' | 'dirty-update' | 'G1a' | 'G1b',
    who: () => readonly number[],
    why: () => string,
  ): void {
    this.#context.findings.add(name, () =>
      told(
        who().map((by) => this.#transaction(by)),
        [why()],
        this.#context.clock,
      ),
    );
  }

  #tellRepeats({ by, list, length }: Read): void {
    const repeats = (): Name | undefined => list.slice(0, length).find((each, at) => list.indexOf(each) < at);
    this.#add(
      'duplicate-elements',
      () => [by],
      () => `T1 read ${this.#name} with ${nameText(repeats() ?? '')} more than once`,
    );
  }

  /** Takes note that somebody saw the element. True when it belongs into the order of what was committed. */
  #isFromCommitted(element: Name): boolean {
    const append = this.#history.appends.get(element);
    if (append !== undefined) this.#context.observed[append.by] = 1;
    const hasFailed = append !== undefined && this.#transaction(append.by).outcome === 'fail';
    if (append !== undefined && !hasFailed) return true;
    if (this.#told.has(element)) return false;
    this.#told.add(element);
    const isShownBy = ({ list, length }: Read): boolean => list.slice(0, length).includes(element);
    const reader = (): number => this.#history.reads.find(isShownBy)?.by ?? 0;
    const what = `${this.#name} with ${nameText(element)}`;
    if (append === undefined) {
      this.#add(
        'garbage-read',
        () => [reader()],
        () => `T1 read ${what}, which nobody appended`,
      );
    } else {
      this.#add(
        'G1a',
        () => [append.by, reader()],
        () => `T2 read ${what}, which T1 appended, and T1 failed`,
      );
    }
    return false;
  }

  /** Where committed transactions appended behind what a failed one left. */
  #findDirtyUpdates(): void {
    let failed: Name | undefined;
    for (const element of this.#order) {
      const append = this.#history.appends.get(element);
      if (append === undefined) continue;
      if (this.#transaction(append.by).outcome === 'fail') {
        failed ??= element;
        continue;
      }
      if (failed === undefined) continue;
      const dirty = failed;
      failed = undefined;
      this.#add(
        'dirty-update',
        () => [this.#history.appends.get(dirty)?.by ?? 0, append.by],
        () =>
          `T2 appended ${nameText(element)} to ${this.#name} behind ${nameText(dirty)}, which T1 appended, and T1 failed`,
      );
    }
  }

  /**
   * Where a transaction appended several elements, and a later one stands there without an earlier one
   * before it.
   */
  #findTorn(): void {
    let places: Map<Name, number> | undefined;
    for (const [at, element] of this.#order.entries()) {
      const { by, previous } = this.#history.appends.get(element) ?? {};
      if (by === undefined || previous === undefined || this.#order[at - 1] === previous) continue;
      places ??= new Map(this.#order.map((each, place) => [each, place]));
      if ((places.get(previous) ?? at) < at) continue;
      this.#add(
        'incompatible-order',
        () => [by, this.#longest?.by ?? by],
        () =>
          `T2 read ${this.#name} with ${nameText(element)}, but not behind ${nameText(previous)}, ` +
          'which T1 had appended before it',
      );
    }
  }

  /** The place in the order of a read that is not a beginning of the longest one. */
  #placeOfOther(read: Read): number {
    const list = read.list.slice(0, read.length);
    const unique = withoutRepeats(list);
    if (unique !== list) this.#tellRepeats(read);
    if (isPrefix(unique, unique.length, this.#order)) return unique.length;
    for (const element of unique) this.#isFromCommitted(element);
    const at = unique.findIndex((element, place) => element !== this.#order[place]);
    this.#add(
      'incompatible-order',
      () => [read.by, this.#longest?.by ?? read.by],
      () =>
        `T1 read ${this.#name} with ${nameText(unique[at] as Name)} where T2 read ${nameText(this.#order[at] as Name)}, ` +
        `behind ${listText(unique.slice(0, at))}`,
    );
    return NOWHERE;
  }

  #findIntermediate({ by, list, length }: Read): void {
    if (length === 0) return;
    const last = list[length - 1] as Name;
    const append = this.#history.appends.get(last);
    if (append === undefined || append.isFinal || append.by === by) return;
    if (this.#transaction(append.by).outcome === 'fail') return;
    this.#add(
      'G1b',
      () => [append.by, by],
      () =>
        `T2 read ${this.#name} up to ${nameText(last)}, which T1 appended, but not what T1 appended to it after that`,
    );
  }
}
