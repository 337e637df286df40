import { nameText, type Name, type Transaction } from '../transactions.js';
import { listText, told, type Clock } from './explain.js';
import type { Findings } from './findings.js';

/**
 * A history that cannot be judged, because two appends of it could not be told apart, or time runs
 * backwards.
 */
export class AmbiguousHistory extends Error {
  /** The place of the transaction in the history. */
  readonly at: number;

  constructor(at: number, why: string) {
    super(why);
    this.at = at;
  }
}

/** Transactions are numbers here: their places in the history. */
export interface Append {
  readonly by: number;
  /** The last of its transaction to that key: what others may see. */
  isFinal: boolean;
  /** What the transaction had appended to that key before. */
  readonly previous: Name | undefined;
}

export interface Read {
  readonly by: number;
  readonly list: readonly Name[];
  /** Elements that were there before the reader's own appends, which stand behind them. */
  readonly length: number;
}

/** All that was done to one key. */
export interface KeyHistory {
  readonly key: Name;
  readonly appends: Map<Name, Append>;
  /** Of transactions that are `ok`. */
  readonly reads: Read[];
}

/** What one transaction has appended so far, by key. */
type Own = Map<Name, Name[]>;

/** Sorts a history by key, and holds each transaction's reads against its own appends. */
export class KeyHistories {
  readonly byKey = new Map<Name, KeyHistory>();
  readonly #transactions: readonly Transaction[];
  readonly #findings: Findings;
  readonly #clock: Clock;
  /** Reads that are known to contradict their own transaction. */
  readonly #torn = new Set<Read>();

  /**
   * @throws AmbiguousHistory where an element is appended twice to a key, or a transaction ends before it
   * begins.
   */
  constructor(transactions: readonly Transaction[], findings: Findings, clock: Clock) {
    this.#transactions = transactions;
    this.#findings = findings;
    this.#clock = clock;
    for (const [by, transaction] of transactions.entries()) this.#take(by, transaction);
  }

  #of(key: Name): KeyHistory {
    let history = this.byKey.get(key);
    if (history === undefined) {
      history = { key, appends: new Map(), reads: [] };
      this.byKey.set(key, history);
    }
    return history;
  }

  #take(by: number, { ops, outcome, invokedMs, returnedMs }: Transaction): void {
    if (!(invokedMs <= returnedMs)) throw new AmbiguousHistory(by, 'returns before it began');
    const own: Own = new Map();
    for (const op of ops) {
      if (op.f === 'append') this.#append(by, op.key, op.value, own);
      else if (outcome === 'ok' && op.value !== undefined) this.#read(by, op.key, op.value, own);
    }
    for (const [key, elements] of own) {
      const last = this.#of(key).appends.get(elements.at(-1) as Name);
      if (last !== undefined) last.isFinal = true;
    }
  }

  #append(by: number, key: Name, element: Name, own: Own): void {
    const { appends } = this.#of(key);
    if (appends.has(element)) {
      const what = `${nameText(element)} to ${nameText(key)}`;
      throw new AmbiguousHistory(by, `appends ${what}, as another append does: elements must differ`);
    }
    const mine = own.get(key);
    appends.set(element, { by, isFinal: false, previous: mine?.at(-1) });
    if (mine === undefined) own.set(key, [element]);
    else mine.push(element);
  }

  #read(by: number, key: Name, list: readonly Name[], own: Own): void {
    const mine = own.get(key) ?? [];
    const length = list.length - mine.length;
    const endsWithMine = mine.every((element, at) => list[length + at] === element);
    if (length < 0 || !endsWithMine) {
      this.#contradicts(
        by,
        `T1 read ${nameText(key)} as ${listText(list)}, which does not end with what T1 itself had appended: ${listText(mine)}`,
      );
      const torn = { by, list, length: list.length };
      this.#torn.add(torn);
      this.#of(key).reads.push(torn);
      return;
    }
    this.#of(key).reads.push({ by, list, length });
  }

  #contradicts(by: number, why: string): void {
    this.#findings.add('internal', () => told([this.#transactions[by] as Transaction], [why], this.#clock));
  }

  /** Reads that show what their own transaction appended only later; all appends must be known. */
  findForeseen(): void {
    for (const { key, appends, reads } of this.byKey.values()) {
      for (const read of reads) {
        const { by, list, length } = read;
        const last = length > 0 ? appends.get(list[length - 1] as Name) : undefined;
        if (last?.by !== by || this.#torn.has(read)) continue;
        this.#contradicts(
          by,
          `T1 read ${nameText(key)} as ${listText(list)}: it shows what T1 itself appended elsewhere`,
        );
      }
    }
  }
}
