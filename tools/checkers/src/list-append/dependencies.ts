import type { Name, Transaction } from '../transactions.js';
import { EDGE, NO_PLACE, type Edges } from './edges.js';
import { NOWHERE, type KeyOrder } from './key-order.js';
import type { Read } from './key-histories.js';

/** A transaction that committed an append which no read shows: it comes behind all that reads show. */
interface Unseen {
  readonly by: number;
  readonly element: Name;
}

/** A key with all that its edges are about. */
export interface KeyVersions {
  readonly key: Name;
  /** Those of the order, then those that no read shows. */
  readonly elements: readonly Name[];
}

function writerOf({ history }: KeyOrder, element: Name | undefined): number {
  return element === undefined ? NO_PLACE : (history.appends.get(element)?.by ?? NO_PLACE);
}

/** Adds what the order and the reads of one key say about the order of transactions. */
export class KeyDependencies {
  readonly #order: KeyOrder;
  readonly #key: number;
  readonly #edges: Edges;
  /** Transactions that wrote the elements of the order. */
  readonly #writers: readonly number[];
  readonly #unseen: readonly Unseen[];

  /** `key` is the number of the key; `isCommitted` says of transactions whether they surely happened. */
  constructor(order: KeyOrder, key: number, edges: Edges, isCommitted: (by: number) => boolean) {
    this.#order = order;
    this.#key = key;
    this.#edges = edges;
    this.#writers = order.elements.map((element) => writerOf(order, element));
    this.#unseen = this.#findUnseen(isCommitted);
  }

  add(): KeyVersions {
    const { history, elements, positions } = this.#order;
    this.#addWrites();
    const tailReaders = new Set<number>();
    for (const [at, read] of history.reads.entries()) {
      const position = positions[at] as number;
      if (position === NOWHERE) this.#addReadOfOther(read);
      else if (this.#addRead(read.by, position)) tailReaders.add(read.by);
    }
    this.#addUnseen(tailReaders);
    return { key: history.key, elements: [...elements, ...this.#unseen.map(({ element }) => element)] };
  }

  #findUnseen(isCommitted: (by: number) => boolean): Unseen[] {
    const { history, elements } = this.#order;
    // What is in no order because of reads that contradict each other is not unseen.
    if (history.reads.length === 0) return [];
    const shown = new Set(elements);
    for (const [at, { list }] of history.reads.entries()) {
      if (this.#order.positions[at] === NOWHERE) for (const element of list) shown.add(element);
    }
    const last = this.#writers.at(-1);
    const unseen = new Map<number, Unseen>();
    for (const [element, { by }] of history.appends) {
      // The rest of what the last writer appended belongs to the last version.
      if (by === last || shown.has(element) || unseen.has(by) || !isCommitted(by)) continue;
      unseen.set(by, { by, element });
    }
    return [...unseen.values()];
  }

  #about(place: number): { readonly key: number; readonly place: number } {
    return { key: this.#key, place };
  }

  #addWrites(): void {
    const writers = this.#writers;
    for (let at = 1; at < writers.length; at += 1) {
      const [before, after] = [writers[at - 1] as number, writers[at] as number];
      if (before !== after) this.#edges.add(EDGE.ww, before, after, this.#about(at));
    }
    const last = writers.at(-1);
    if (last === undefined) return;
    for (const [at, { by }] of this.#unseen.entries()) {
      this.#edges.add(EDGE.ww, last, by, this.#about(writers.length + at));
    }
  }

  /** True when the read saw the last version in the order. */
  #addRead(by: number, position: number): boolean {
    const writers = this.#writers;
    const seen = writers[position - 1];
    if (seen !== undefined && seen !== by) this.#edges.add(EDGE.wr, seen, by, this.#about(position - 1));
    // A version is all that its transaction appended: who saw a part of it (G1b) misses what comes after it.
    let next = position;
    while (next < writers.length && writers[next] === seen) next += 1;
    const missed = writers[next];
    if (missed !== undefined && missed !== by) this.#edges.add(EDGE.rw, by, missed, this.#about(next));
    return missed === undefined;
  }

  /** Of a read that contradicts the order nothing counts but whose element it saw last. */
  #addReadOfOther({ by, list, length }: Read): void {
    const seen = writerOf(this.#order, list[length - 1]);
    if (seen === NO_PLACE || seen === by) return;
    this.#edges.add(EDGE.wr, seen, by, this.#about(NO_PLACE));
  }

  /**
   * Who saw the last version missed all that no read shows, but for what it appended itself. One node stands
   * for all of them; readers that are among them lead to nodes for each binary digit of their number, to the
   * one of those whose digit differs: so to all but themselves, in a logarithm of edges.
   */
  #addUnseen(readers: ReadonlySet<number>): void {
    const unseen = this.#unseen;
    if (unseen.length === 0 || readers.size === 0) return;
    const edges = this.#edges;
    const placeOf = (at: number): number => this.#writers.length + at;
    const numberOf = new Map(unseen.map(({ by }, at) => [by, at]));
    const group = (isIn: (at: number) => boolean): number => {
      const node = edges.addNode();
      for (const [at, { by }] of unseen.entries()) {
        if (isIn(at)) edges.add(EDGE.rw, node, by, this.#about(placeOf(at)));
      }
      return node;
    };
    const outside = [...readers].filter((by) => !numberOf.has(by));
    const inside = [...readers].filter((by) => numberOf.has(by));
    if (outside.length > 0) {
      const all = group(() => true);
      for (const by of outside) edges.add(EDGE.rw, by, all, this.#about(NO_PLACE));
    }
    if (inside.length === 0) return;
    for (let digit = 1; digit < unseen.length; digit *= 2) {
      const digitOf = (at: number): boolean => Math.floor(at / digit) % 2 === 1;
      const groups = { zero: group((at) => !digitOf(at)), one: group(digitOf) };
      for (const by of inside) {
        const other = digitOf(numberOf.get(by) as number) ? groups.zero : groups.one;
        edges.add(EDGE.rw, by, other, this.#about(NO_PLACE));
      }
    }
  }
}

/**
 * Whether transactions surely happened: acknowledged ones, and unknown ones of which some read shows a
 * part.
 */
export function committedIn(
  transactions: readonly Transaction[],
  observed: Uint8Array,
): (by: number) => boolean {
  return (by) => {
    const outcome = transactions[by]?.outcome;
    return outcome === 'ok' || (outcome === 'info' && observed[by] === 1);
  };
}
