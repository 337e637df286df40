import { nameText, type Transaction } from '../transactions.js';
import type { Anomaly, AnomalyName } from './anomalies.js';
import { findCycles } from './cycles.js';
import { committedIn, KeyDependencies, type KeyVersions } from './dependencies.js';
import { EDGE, Edges } from './edges.js';
import { told, type Clock } from './explain.js';
import { Findings } from './findings.js';
import { KeyHistories } from './key-histories.js';
import { OrderFinder, type KeyOrder } from './key-order.js';
import { findLostUpdates } from './lost-updates.js';
import { addProcessOrder, addRealTime } from './real-time.js';
import { classOf, shapesOf, sharedWrite, type Step } from './steps.js';

/** Steps told of a cycle. */
const STEPS_SHOWN = 16;

export interface ListAppendVerdict {
  /** In the order of `ANOMALIES`; up to `TOLD_MAX` of each name, and of each shape of a class. */
  readonly anomalies: readonly Anomaly[];
  /** How many there are of each name, other names and those that are not told included. */
  readonly counts: ReadonlyMap<AnomalyName, number>;
  readonly keyCount: number;
}

/** Why the first transaction of a step comes before the second. */
function whyOf(
  { kind, key, place }: Step,
  names: readonly [string, string],
  versions: readonly KeyVersions[],
): string {
  const [from, to] = names;
  const { elements = [], key: name = '' } = versions[key] ?? {};
  const [element, before] = [elements[place], elements[place - 1]].map((each) =>
    each === undefined ? undefined : nameText(each),
  );
  const list = nameText(name);
  switch (kind) {
    case EDGE.ww:
      return `ww: ${to} appended ${element} to ${list} behind ${before}, which ${from} appended`;
    case EDGE.wr:
      return `wr: ${to} read ${list} with ${element ?? 'an element'}, which ${from} appended`;
    case EDGE.rw:
      return `rw: ${from} read ${list} without ${element}, which ${to} appended`;
    case EDGE.realtime:
      return `realtime: ${from} had returned before ${to} began`;
    case EDGE.process:
      return `process: the same process ran ${from} before ${to}`;
  }
}

/** Transactions of a cycle in its order, and why each comes before the next; of a long one the beginning. */
function cycleText(
  steps: readonly Step[],
  transactions: readonly Transaction[],
  versions: readonly KeyVersions[],
): { readonly members: Transaction[]; readonly sentences: string[] } {
  const numbers = new Map<number, number>();
  for (const { from } of steps) if (!numbers.has(from)) numbers.set(from, numbers.size + 1);
  const nameOf = (by: number): string => `T${numbers.get(by)}`;
  const shown = steps.slice(0, steps.length > STEPS_SHOWN ? STEPS_SHOWN - 1 : STEPS_SHOWN);
  const told = new Set(shown.flatMap(({ from, to }) => [from, to]));
  const sentences = shown.map((step) => {
    const names = [nameOf(step.from), nameOf(step.to)] as const;
    return `${names[0]} < ${names[1]}  ${whyOf(step, names, versions)}`;
  });
  const more = steps.length - shown.length;
  if (more > 0) sentences.push(`and ${more} more steps, of ${numbers.size} transactions in all, back to T1`);
  return { members: [...told].map((by) => transactions[by] as Transaction), sentences };
}

function dependenciesOf(
  orders: readonly KeyOrder[],
  transactions: readonly Transaction[],
  observed: Uint8Array,
): { readonly edges: Edges; readonly versions: KeyVersions[] } {
  const edges = new Edges(transactions.length);
  const isCommitted = committedIn(transactions, observed);
  const versions = orders.map((order, key) => new KeyDependencies(order, key, edges, isCommitted).add());
  addRealTime(transactions, edges);
  addProcessOrder(transactions, edges);
  return { edges, versions };
}

/**
 * Judges a history of transactions that append to lists and read them whole, after Kingsbury and Alvaro,
 * "Elle: Inferring Isolation Anomalies from Experimental Observations" (VLDB 2020): what reads show gives
 * the order of versions, the order of versions the dependencies of transactions, and a cycle of them is an
 * anomaly. What is found is wrong in every explanation of the history.
 *
 * Takes time and memory in proportion to operations and the elements that were read.
 *
 * @throws AmbiguousHistory when an element is appended twice to a key, or a transaction ends before it
 *   begins.
 */
export function checkListAppend(
  transactions: readonly Transaction[],
  { clock = 'ms' }: { readonly clock?: Clock } = {},
): ListAppendVerdict {
  const findings = new Findings();
  const histories = new KeyHistories(transactions, findings, clock);
  histories.findForeseen();
  const context = { transactions, findings, clock, observed: new Uint8Array(transactions.length) };
  const orders = [...histories.byKey.values()].map((history) => new OrderFinder(history, context).find());
  for (const order of orders) findLostUpdates(order, transactions, context);
  const { edges, versions } = dependenciesOf(orders, transactions, context.observed);
  for (const steps of findCycles(transactions, edges)) {
    const name = classOf(steps);
    const tell = (): ReturnType<typeof told> => {
      const { members, sentences } = cycleText(steps, transactions, versions);
      const shared = name === 'G2' ? sharedWrite(steps, transactions) : undefined;
      if (shared !== undefined) {
        sentences.push(
          `T1 and T2 both appended to ${nameText(shared)}: in either order that makes a G-single`,
        );
      }
      return told(members, sentences, clock);
    };
    findings.add(name, tell, name === 'G2' ? shapesOf(steps, transactions) : []);
  }
  return { anomalies: findings.sorted(), counts: findings.counts, keyCount: orders.length };
}
