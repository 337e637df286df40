import type { Transaction } from '../transactions.js';
import { EDGE, type Edges } from './edges.js';

/**
 * Which transactions came before which in real time: those that had returned before the other began. Nothing
 * is known of the end of `info`, so nothing comes after it; `fail` did not happen.
 *
 * The frontier of what has returned would lead to each transaction that begins then; where many run at once
 * that is still a square of edges. So it is a node of its own: what returns leads into the next frontier,
 * each frontier into the next one, and whatever begins comes out of the last. Edges are at most three a
 * transaction.
 */
export function addRealTime(transactions: readonly Transaction[], edges: Edges): void {
  const began: number[] = [];
  const returned: number[] = [];
  for (const [at, { outcome }] of transactions.entries()) {
    if (outcome !== 'fail') began.push(at);
    if (outcome === 'ok') returned.push(at);
  }
  const timesOf = (at: number): Transaction => transactions[at] as Transaction;
  began.sort((a, b) => timesOf(a).invokedMs - timesOf(b).invokedMs);
  returned.sort((a, b) => timesOf(a).returnedMs - timesOf(b).returnedMs);
  let frontier: number | undefined;
  let next = 0;
  for (const at of began) {
    const { invokedMs } = timesOf(at);
    const isOver = (): boolean =>
      next < returned.length && timesOf(returned[next] as number).returnedMs < invokedMs;
    if (isOver()) {
      const later = edges.addNode();
      if (frontier !== undefined) edges.add(EDGE.realtime, frontier, later);
      frontier = later;
      for (; isOver(); next += 1) edges.add(EDGE.realtime, returned[next] as number, frontier);
    }
    if (frontier !== undefined) edges.add(EDGE.realtime, frontier, at);
  }
}

/** The order of each process, also where its transactions touch in time. */
export function addProcessOrder(transactions: readonly Transaction[], edges: Edges): void {
  const order = transactions.map((_, at) => at).filter((at) => transactions[at]?.outcome !== 'fail');
  const timesOf = (at: number): Transaction => transactions[at] as Transaction;
  order.sort(
    (a, b) => timesOf(a).invokedMs - timesOf(b).invokedMs || timesOf(a).returnedMs - timesOf(b).returnedMs,
  );
  const last = new Map<Transaction['process'], number>();
  for (const at of order) {
    const { process, invokedMs, outcome } = timesOf(at);
    const before = last.get(process);
    if (before !== undefined && timesOf(before).returnedMs <= invokedMs) edges.add(EDGE.process, before, at);
    if (outcome === 'ok') last.set(process, at);
  }
}
