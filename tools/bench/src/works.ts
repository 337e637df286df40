import { assert } from '@cairn/base';

/** Single keys and scans. */
export const PLAIN_WORKS = ['put', 'get', 'mix', 'stale', 'scan', 'unary'] as const;

/** Several keys at once, or a key that is read before it is written. */
export const TRANSACTION_WORKS = [
  'txn-rmw',
  'txn-one-range',
  'txn-transfer',
  'txn-zipf',
  'snapshot-10',
  'txn-compare',
  'txn-compare-2',
  'counter',
] as const;

/** The mixes of the Yahoo! Cloud Serving Benchmark (Cooper and others, 2010). */
export const YCSB_WORKS = ['ycsb-a', 'ycsb-b', 'ycsb-c', 'ycsb-d', 'ycsb-e', 'ycsb-f'] as const;

/** What one operation of a work is; `scan` counts rows. */
export const WORKS = [...PLAIN_WORKS, ...TRANSACTION_WORKS, ...YCSB_WORKS] as const;

export type WorkName = (typeof WORKS)[number];
export type TransactionWork = (typeof TRANSACTION_WORKS)[number];
export type YcsbWork = (typeof YCSB_WORKS)[number];

/** Names that stand for several works. */
export const WORK_GROUPS: ReadonlyMap<string, readonly WorkName[]> = new Map<string, readonly WorkName[]>([
  ['txn', TRANSACTION_WORKS],
  ['ycsb', YCSB_WORKS],
]);

/** Share of reads in `mix`. */
export const MIX_READ_SHARE = 0.9;

/** Clients of `counter`, each with one transaction at a time and a connection of its own. */
export const COUNTER_CLIENTS = 64;

/** For the table and `--help`. */
export const WORK_MEANING: Readonly<Record<WorkName, string>> = {
  put: 'put of a random key',
  get: 'linearizable get of a random key',
  mix: '90 % linearizable get, 10 % put',
  stale: 'get from any replica; of etcd a serializable get',
  scan: 'all rows in order, one scan at a time: rows per second, latency of a whole scan',
  unary: 'put as a plain unary gRPC call, both systems under the native generator',
  'txn-rmw': 'transaction that reads a random key and puts it',
  'txn-one-range': 'transaction that reads two random keys of one range and puts both',
  'txn-transfer': 'transaction that reads two random keys of two ranges and puts both',
  'txn-zipf': 'txn-transfer with keys drawn by a zipfian distribution of 0.99',
  'snapshot-10': 'transaction that reads ten random keys',
  'txn-compare': 'one call: if two keys of one range exist, both are put',
  'txn-compare-2': 'one call: if two keys of two ranges exist, both are put',
  counter: `transaction that adds 1 to the one key of all; ${COUNTER_CLIENTS} clients`,
  'ycsb-a': '50 % get, 50 % put, zipfian',
  'ycsb-b': '95 % get, 5 % put, zipfian',
  'ycsb-c': 'get, zipfian',
  'ycsb-d': '95 % get of what was put last, 5 % put of a new key',
  'ycsb-e': '95 % scan of 1 to 100 rows, 5 % put of a new key, zipfian',
  'ycsb-f': '50 % get, 50 % transaction that reads a key and puts it, zipfian',
};

/** What a work of transactions is compared with in the same run: what it costs to be more than that. */
export const BASELINES: Readonly<Record<TransactionWork, readonly WorkName[]>> = {
  'txn-rmw': ['put', 'get'],
  'txn-one-range': ['put', 'get'],
  'txn-transfer': ['put', 'get'],
  'txn-zipf': ['put', 'get', 'txn-transfer'],
  'snapshot-10': ['get'],
  'txn-compare': ['put', 'get'],
  'txn-compare-2': ['put', 'get'],
  counter: ['put', 'get'],
};

export function isTransactionWork(work: WorkName): work is TransactionWork {
  return TRANSACTION_WORKS.some((each) => each === work);
}

export function isYcsbWork(work: WorkName): work is YcsbWork {
  return YCSB_WORKS.some((each) => each === work);
}

/** Works with what the others of them are compared with. */
export function baselinesOf(work: WorkName): readonly WorkName[] {
  return isTransactionWork(work) ? BASELINES[work] : [];
}

/** One measurement: which work, and how many operations are open at any time. */
export interface Cell {
  readonly work: WorkName;
  readonly outstanding: number;
}

/** A scan is one reader and a counter has its clients, whatever the others are. */
function cellsOfWork(work: WorkName, outstanding: readonly number[]): Cell[] {
  if (work === 'scan') return [{ work, outstanding: 1 }];
  if (work === 'counter') return [{ work, outstanding: COUNTER_CLIENTS }];
  return outstanding.map((each) => ({ work, outstanding: each }));
}

/**
 * All cells of a plan, in the order of the works, and before them those that transactions are compared with
 * and that are not among them.
 */
export function cellsOf(works: readonly WorkName[], outstanding: readonly number[]): Cell[] {
  const named = works.flatMap((work) => cellsOfWork(work, outstanding));
  const missing: Cell[] = [];
  for (const { work, outstanding: open } of named) {
    for (const baseline of baselinesOf(work)) {
      assert(baseline !== 'scan' && baseline !== 'counter', 'a baseline has any number of open operations');
      const isThere = [...missing, ...named].some(
        (each) => each.work === baseline && each.outstanding === open,
      );
      if (!isThere) missing.push({ work: baseline, outstanding: open });
    }
  }
  return [...missing, ...named];
}
