import type { Transaction } from '../transactions.js';

/** Of single reads and lists: no order of transactions is needed to see them. */
const OF_LISTS = [
  'duplicate-elements',
  'incompatible-order',
  'garbage-read',
  'internal',
  'dirty-update',
  'G1a',
  'G1b',
] as const;

/** Cycles of dependencies, the more severe first: each level forbids a beginning of this list. */
const CYCLES = ['G0', 'G1c', 'G-single', 'G-nonadjacent', 'G2'] as const;
const IN_REAL_TIME = ['G0-realtime', 'G1c-realtime', 'G-single-realtime', 'G2-realtime'] as const;
/** Recognised by their shape, besides their class. */
const SHAPES = ['lost-update', 'long-fork', 'write-skew'] as const;

export type AnomalyName =
  | (typeof OF_LISTS)[number]
  | (typeof CYCLES)[number]
  | (typeof IN_REAL_TIME)[number]
  | (typeof SHAPES)[number];

/** In the order in which they are told. */
export const ANOMALIES: readonly AnomalyName[] = [...OF_LISTS, ...SHAPES, ...CYCLES, ...IN_REAL_TIME];

/** Levels of isolation, the strongest first. */
export const LEVELS = [
  'strict-serializable',
  'serializable',
  'snapshot-isolation',
  'read-committed',
] as const;
export type IsolationLevel = (typeof LEVELS)[number];

/** One thing that is wrong with a history. */
export interface Anomaly {
  readonly name: AnomalyName;
  /** Other names of the same cycle, where its shape has one. */
  readonly also: readonly AnomalyName[];
  /** Who takes part, in the order of the explanation: T1, T2, and so on. */
  readonly transactions: readonly Transaction[];
  /** Lines, without an end of line behind the last. */
  readonly explanation: string;
}

const READ_COMMITTED: readonly AnomalyName[] = [...OF_LISTS, 'G0', 'G1c'];
/** Every cycle that a snapshot permits has two anti-dependencies in a row; in a long fork they are apart. */
const SNAPSHOT: readonly AnomalyName[] = [
  ...READ_COMMITTED,
  'G-single',
  'G-nonadjacent',
  'lost-update',
  'long-fork',
];
const SERIALIZABLE: readonly AnomalyName[] = [...SNAPSHOT, 'G2', 'write-skew'];

const FORBIDDEN: Readonly<Record<IsolationLevel, ReadonlySet<AnomalyName>>> = {
  'read-committed': new Set(READ_COMMITTED),
  'snapshot-isolation': new Set(SNAPSHOT),
  serializable: new Set(SERIALIZABLE),
  'strict-serializable': new Set([...SERIALIZABLE, ...IN_REAL_TIME]),
};

/** The anomalies that a history of the level must not have. */
export function forbiddenAt(level: IsolationLevel): ReadonlySet<AnomalyName> {
  return FORBIDDEN[level];
}

/** Whether the level forbids the anomaly, under any of its names. */
export function isForbidden({ name, also }: Anomaly, level: IsolationLevel): boolean {
  const forbidden = forbiddenAt(level);
  return [name, ...also].some((each) => forbidden.has(each));
}
