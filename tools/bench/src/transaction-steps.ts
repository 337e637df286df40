import { CairnError } from '@cairn/base';
import type { LoadData, LoadTarget } from './closed-loop.js';
import type { FastRandom } from './data-set.js';
import { KeyPlaces, type KeyPair } from './key-places.js';
import type { ComparingTarget, TransactionTarget } from './transaction-target.js';
import type { TransactionWork } from './works.js';

/** Keys of one snapshot. */
const SNAPSHOT_KEYS = 10;

/** The operations of one run of a work. */
export interface Steps {
  /** Transactions that ran again, so far. */
  readonly restarts: number;
  /** One operation; false if something that was loaded was not there. */
  run(slot: number, value: Buffer): Promise<boolean>;
  close(): void;
}

/** Those of a counter, which is known in the end. */
export interface CounterSteps extends Steps {
  /** After the last operation. @throws CairnError `INTERNAL` when the counter is not what was added. */
  check(errors: number): Promise<void>;
}

export interface StepParts {
  readonly target: LoadTarget;
  readonly data: LoadData;
  readonly random: FastRandom;
}

/** The transactions of a target. @throws CairnError `FAILED_PRECONDITION` when it has none. */
export function transactionsOf({ transactions }: LoadTarget): TransactionTarget {
  if (transactions !== undefined) return transactions;
  throw new CairnError('FAILED_PRECONDITION', 'This system has no transactions that the benchmark knows.');
}

function stepsOf(target: TransactionTarget, run: Steps['run']): Steps {
  return {
    run,
    get restarts() {
      return target.restarts;
    },
    // The target outlives the run.
    close: () => undefined,
  };
}

/** Reads and puts the keys that are drawn. */
function rewriteSteps({ target, data }: StepParts, draw: () => readonly number[]): Steps {
  const transactions = transactionsOf(target);
  return stepsOf(transactions, async (slot, value) => {
    const keys = draw().map((key) => data.keys.at(key));
    return (await transactions.rewrite(slot, keys, value)) === keys.length;
  });
}

function compareSteps({ target, data }: StepParts, draw: () => KeyPair): Steps {
  const comparing: ComparingTarget = target.comparing ?? transactionsOf(target);
  return {
    restarts: 0,
    run: (slot, value) =>
      comparing.comparePut(
        slot,
        draw().map((key) => data.keys.at(key)),
        value,
      ),
    close: () => undefined,
  };
}

function snapshotSteps({ target, data, random }: StepParts): Steps {
  const transactions = transactionsOf(target);
  return stepsOf(transactions, async (slot) => {
    const keys = Array.from({ length: SNAPSHOT_KEYS }, () => data.keys.at(random.below(data.keys.length)));
    return (await transactions.readTogether(slot, keys)) === keys.length;
  });
}

/**
 * The operations of a work. `ranges` as of `rangeStarts`; a target without ranges has none.
 *
 * @throws CairnError `FAILED_PRECONDITION` when keys cannot lie in two ranges.
 */
export function transactionSteps(
  work: Exclude<TransactionWork, 'counter'>,
  parts: StepParts & { readonly ranges: readonly number[] },
): Steps {
  const { data, random, ranges, target } = parts;
  const places = new KeyPlaces(data.keys.length, ranges, { zipf: work === 'txn-zipf' });
  const isPlaced = target.transactions !== undefined;
  switch (work) {
    case 'txn-rmw':
      return rewriteSteps(parts, () => [random.below(data.keys.length)]);
    case 'txn-one-range':
      return rewriteSteps(parts, () => places.ofOneRange(random));
    case 'txn-transfer':
      places.checkTwoRanges();
      return rewriteSteps(parts, () => places.ofTwoRanges(random));
    case 'txn-zipf':
      places.checkTwoRanges();
      return rewriteSteps(parts, () => places.popularOfTwoRanges(random));
    case 'snapshot-10':
      return snapshotSteps(parts);
    case 'txn-compare':
      return compareSteps(parts, () => places.ofOneRange(random));
    case 'txn-compare-2':
      // What has no ranges takes the same pairs.
      if (isPlaced) places.checkTwoRanges();
      return compareSteps(parts, () => places.ofTwoRanges(random));
  }
}

/** The operations of a counter that all slots add to, each from a connection of its own. */
export async function counterSteps(target: LoadTarget, slots: number): Promise<CounterSteps> {
  const counter = await transactionsOf(target).openCounter(slots);
  let added = 0;
  return {
    get restarts() {
      return counter.restarts;
    },
    run: async (slot) => {
      await counter.add(slot);
      added += 1;
      return true;
    },
    // Of what failed it is not known whether it has happened.
    check: async (errors) => {
      const value = await counter.read();
      if (value >= added && value <= added + errors) return;
      throw new CairnError(
        'INTERNAL',
        `The counter is ${value} after ${added} acknowledged additions and ${errors} errors.`,
      );
    },
    close: () => counter.close(),
  };
}
