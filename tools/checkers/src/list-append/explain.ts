import { nameText, type ListOp, type Name, type Transaction } from '../transactions.js';
import type { Anomaly } from './anomalies.js';

/** What the times of a history are. */
export type Clock = 'lines' | 'ms';

/** Elements shown of a list: the last ones. */
const ELEMENTS_SHOWN = 5;
/** Steps shown of a transaction. */
const OPS_SHOWN = 12;

export function listText(list: readonly Name[]): string {
  const shown = list.slice(-ELEMENTS_SHOWN).map(nameText);
  return `[${[...(list.length > shown.length ? ['…'] : []), ...shown].join(', ')}]`;
}

function opText(op: ListOp): string {
  if (op.f === 'append') return `append ${nameText(op.key)} ${nameText(op.value)}`;
  return `r ${nameText(op.key)} ${op.value === undefined ? '?' : listText(op.value)}`;
}

function timesText({ outcome, invokedMs, returnedMs }: Transaction, clock: Clock): string {
  const end = returnedMs === Number.POSITIVE_INFINITY ? '?' : returnedMs;
  const times = clock === 'lines' ? `lines ${invokedMs} to ${end}` : `${invokedMs} to ${end} ms`;
  return outcome === 'ok' ? times : `${times}, ${outcome}`;
}

/** `process 0, lines 1 to 2: append x 1, r y []`. */
export function transactionText(transaction: Transaction, clock: Clock): string {
  const { ops, process } = transaction;
  const shown = ops.slice(0, OPS_SHOWN).map(opText);
  if (ops.length > shown.length) shown.push(`and ${ops.length - shown.length} more`);
  return `process ${nameText(process)}, ${timesText(transaction, clock)}: ${shown.join(', ')}`;
}

/** An anomaly told: who takes part, as T1, T2 and so on, then what they did. */
export function told(
  transactions: readonly Transaction[],
  sentences: readonly string[],
  clock: Clock,
): Pick<Anomaly, 'transactions' | 'explanation'> {
  const rows = transactions.map((each, at) => `T${at + 1} = ${transactionText(each, clock)}`);
  return { transactions, explanation: [...rows, ...sentences].join('\n') };
}
