import { keyAt } from './data-set.js';
import { transactionsOf, type StepParts, type Steps } from './transaction-steps.js';
import type { YcsbWork } from './works.js';
import { Scatter, Zipf } from './zipf.js';

/** Rows of a scan, evenly drawn from 1. */
const SCAN_ROWS_MAX = 100;

type Operation = 'read' | 'read-latest' | 'update' | 'insert' | 'scan' | 'read-modify-write';

/** Of each mix what is done in `firstShare` of the operations, and what otherwise. */
export const YCSB_MIXES: Readonly<
  Record<YcsbWork, { readonly first: Operation; readonly firstShare: number; readonly other: Operation }>
> = {
  'ycsb-a': { first: 'read', firstShare: 0.5, other: 'update' },
  'ycsb-b': { first: 'read', firstShare: 0.95, other: 'update' },
  'ycsb-c': { first: 'read', firstShare: 1, other: 'read' },
  'ycsb-d': { first: 'read-latest', firstShare: 0.95, other: 'insert' },
  'ycsb-e': { first: 'scan', firstShare: 0.95, other: 'insert' },
  'ycsb-f': { first: 'read', firstShare: 0.5, other: 'read-modify-write' },
};

/**
 * Numbers of new keys. Those up to `known.count` were put, without holes, and may be read; one that is slow
 * holds up those behind it.
 */
export class Inserts {
  readonly #known: { count: number };
  readonly #failed: number[] = [];
  readonly #done = new Set<number>();
  #next: number;

  constructor(known: { count: number }) {
    this.#known = known;
    this.#next = known.count;
  }

  /** The number of the next key; one that failed comes again. */
  take(): number {
    const again = this.#failed.pop();
    if (again !== undefined) return again;
    this.#next += 1;
    return this.#next - 1;
  }

  giveBack(at: number): void {
    this.#failed.push(at);
  }

  done(at: number): void {
    this.#done.add(at);
    while (this.#done.delete(this.#known.count)) this.#known.count += 1;
  }
}

/**
 * The operations of a mix. What is popular lies scattered over the keys, as in YCSB; its generator of skew is
 * used, too. New keys follow the data set, and stay for the works that come after.
 */
export function ycsbSteps(work: YcsbWork, { target, data, random }: StepParts): Steps {
  const { first, firstShare, other } = YCSB_MIXES[work];
  const transactions = transactionsOf(target);
  const zipf = new Zipf(data.keys.length);
  const scatter = new Scatter(data.keys.length);
  const inserts = new Inserts(data.inserted);
  const popular = (): Buffer => data.keys.at(scatter.placeOf(zipf.draw(random)));
  const latest = (): Buffer => {
    const index = data.keys.length + data.inserted.count - 1 - zipf.draw(random);
    return index < data.keys.length ? data.keys.at(index) : keyAt(index);
  };
  const insert = async (slot: number, value: Buffer): Promise<boolean> => {
    const at = inserts.take();
    try {
      await target.put(slot, keyAt(data.keys.length + at), value);
    } catch (error) {
      inserts.giveBack(at);
      throw error;
    }
    inserts.done(at);
    return true;
  };
  const run = async (slot: number, value: Buffer): Promise<boolean> => {
    const operation = random.fraction() < firstShare ? first : other;
    switch (operation) {
      case 'read':
        return (await target.get(slot, popular(), false)) !== undefined;
      case 'read-latest':
        return (await target.get(slot, latest(), false)) !== undefined;
      case 'update':
        await target.put(slot, popular(), value);
        return true;
      case 'insert':
        return insert(slot, value);
      case 'scan':
        return (await transactions.scanSome(slot, popular(), 1 + random.below(SCAN_ROWS_MAX))) > 0;
      case 'read-modify-write':
        return (await transactions.rewrite(slot, [popular()], value)) === 1;
    }
  };
  return {
    run,
    get restarts() {
      return transactions.restarts;
    },
    close: () => undefined,
  };
}
