import type { AnomalyName } from './list-append/anomalies.js';
import { checkListAppend } from './list-append/check.js';
import type { ListOp, Name, Transaction } from './transactions.js';

/** `a x 1` appends 1 to x, `r x 1 2` reads [1, 2] of it, `r x` reads that it is empty. */
function opOf(text: string): ListOp {
  const [f, key = '', ...elements] = text.split(' ');
  const list = elements.map(Number);
  return f === 'a' ? { f: 'append', key, value: list[0] ?? 0 } : { f: 'r', key, value: list };
}

/** A transaction that was acknowledged, with its steps as text, separated by commas. */
export function txn(
  invokedMs: number,
  returnedMs: number,
  ops: string,
  process: Name = invokedMs,
): Transaction {
  const steps = ops === '' ? [] : ops.split(', ').map(opOf);
  return { process, outcome: 'ok', invokedMs, returnedMs, ops: steps };
}

export function failed(transaction: Transaction): Transaction {
  return { ...transaction, outcome: 'fail' };
}

/** Reads of what has an unknown outcome are unknown, too. */
export function unknown(transaction: Transaction): Transaction {
  const ops = transaction.ops.map((op) => (op.f === 'r' ? { ...op, value: undefined } : op));
  return { ...transaction, ops, outcome: 'info', returnedMs: Number.POSITIVE_INFINITY };
}

/**
 * The names of what is wrong with a history, other names behind a plus, each once and in order of letters.
 */
export function namesIn(transactions: readonly Transaction[]): string[] {
  const { anomalies } = checkListAppend(transactions);
  const names = anomalies.map(({ name, also }): string => [name, ...also].join('+'));
  return [...new Set(names)].sort();
}

/** All names of what is wrong with a history. */
export function allNamesIn(transactions: readonly Transaction[]): Set<AnomalyName> {
  return new Set(checkListAppend(transactions).anomalies.flatMap(({ name, also }) => [name, ...also]));
}
