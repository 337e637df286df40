import type { Name, Transaction } from '../transactions.js';
import type { AnomalyName } from './anomalies.js';
import { EDGE, type EdgeKind, type Edges } from './edges.js';

/** One step of a cycle, from a transaction to the next. */
export interface Step {
  readonly kind: EdgeKind;
  readonly from: number;
  readonly to: number;
  readonly key: number;
  readonly place: number;
  /** The first edge of the step, which leaves `from`. */
  readonly edge: number;
}

/** The steps of a path of edges, which begins and ends at transactions. */
export function stepsOf(path: readonly number[], edges: Edges, transactionCount: number): Step[] {
  const steps: Step[] = [];
  let first: number | undefined;
  for (const edge of path) {
    first ??= edge;
    const to = edges.targets[edge] as number;
    if (to >= transactionCount) continue;
    steps.push({
      kind: edges.kinds[first] as EdgeKind,
      from: edges.sources[first] as number,
      to,
      key: edges.keys[edge] as number,
      place: edges.places[edge] as number,
      edge: first,
    });
    first = undefined;
  }
  return steps;
}

function isInTime({ kind }: Step): boolean {
  return kind === EDGE.realtime || kind === EDGE.process;
}

export function countOf(steps: readonly Step[], kind: EdgeKind): number {
  return steps.filter((step) => step.kind === kind).length;
}

/** The class of a cycle. */
export function classOf(steps: readonly Step[]): AnomalyName {
  const misses = countOf(steps, EDGE.rw);
  const withoutTime = (): 'G0' | 'G1c' | 'G-single' | 'G2' => {
    if (misses > 1) return 'G2';
    if (misses === 1) return 'G-single';
    return countOf(steps, EDGE.wr) > 0 ? 'G1c' : 'G0';
  };
  return steps.some(isInTime) ? `${withoutTime()}-realtime` : withoutTime();
}

/** Whether no two anti-dependencies follow each other, around the end too. */
function isNonadjacent(steps: readonly Step[]): boolean {
  return steps.every(({ kind }, at) => kind !== EDGE.rw || steps.at(at - 1)?.kind !== EDGE.rw);
}

function isReadOnly(transaction: Transaction | undefined): boolean {
  return transaction?.ops.every(({ f }) => f === 'r') === true;
}

/** Two writers, of which two readers that write nothing each saw another one, and not the other. */
function isLongFork(steps: readonly Step[], transactions: readonly Transaction[]): boolean {
  if (steps.length !== 4) return false;
  return steps.every(({ kind, to }, at) => {
    const before = steps.at(at - 1)?.kind;
    if (kind === EDGE.wr) return before === EDGE.rw && isReadOnly(transactions[to]);
    return kind === EDGE.rw && before === EDGE.wr;
  });
}

function isWriteSkew(steps: readonly Step[]): boolean {
  return steps.length === 2 && countOf(steps, EDGE.rw) === 2 && steps[0]?.key !== steps[1]?.key;
}

/**
 * A key to which both of two transactions appended that missed each other. Whoever of them appended first,
 * its reader missed it: with that order of writes one of the two anti-dependencies closes a cycle alone.
 */
export function sharedWrite(steps: readonly Step[], transactions: readonly Transaction[]): Name | undefined {
  if (steps.length !== 2) return undefined;
  const [one, other] = steps.map(({ from }) =>
    (transactions[from]?.ops ?? []).filter(({ f }) => f === 'append').map(({ key }) => key),
  );
  return one?.find((key) => other?.includes(key));
}

/** Other names of a cycle of class G2. */
export function shapesOf(steps: readonly Step[], transactions: readonly Transaction[]): AnomalyName[] {
  const shapes: AnomalyName[] = [];
  if (sharedWrite(steps, transactions) !== undefined) shapes.push('G-single');
  if (isNonadjacent(steps)) shapes.push('G-nonadjacent');
  if (isLongFork(steps, transactions)) shapes.push('long-fork');
  if (isWriteSkew(steps)) shapes.push('write-skew');
  return shapes;
}
