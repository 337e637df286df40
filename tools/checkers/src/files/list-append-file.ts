import type { ListOp, Name, Transaction } from '../transactions.js';
import { BadHistory, jsonLines, listIn, nameIn, shown, type JsonLine } from './json-lines.js';
import { headOf, OpenOperations } from './open-operations.js';

/** A transaction that has begun: its place in the history, and what it is to do. */
interface Begun {
  readonly at: number;
  readonly ops: readonly ListOp[];
}

function readIn(value: unknown, what: string, number: number): readonly Name[] | undefined {
  if (value === null || value === undefined) return undefined;
  return listIn(value, `${what}: what is read`, number).map((each) =>
    nameIn(each, `${what}: an element`, number),
  );
}

function opIn(value: unknown, place: number, number: number): ListOp {
  const what = `step ${place + 1}`;
  const [f, key, element, ...more] = listIn(value, what, number);
  if (f !== 'append' && f !== 'r') {
    throw new BadHistory(number, `${what}: unknown operation ${shown(f)}, must be append or r`);
  }
  if (more.length > 0) throw new BadHistory(number, `${what}: must be [operation, key, value]`);
  const name = nameIn(key, `${what}: the key`, number);
  if (f === 'r') return { f, key: name, value: readIn(element, what, number) };
  return { f, key: name, value: nameIn(element, `${what}: the element`, number) };
}

function opsIn({ fields, number }: JsonLine): ListOp[] {
  return listIn(fields['txn'], 'txn', number).map((op, place) => opIn(op, place, number));
}

function isSame(one: ListOp, other: ListOp | undefined): boolean {
  if (one.f !== other?.f || one.key !== other.key) return false;
  return one.f === 'r' || one.value === other.value;
}

/** @throws BadHistory unless both do the same, whatever they read. */
function checkSame(
  begun: readonly ListOp[],
  beganAt: number,
  ended: readonly ListOp[],
  number: number,
): void {
  const place = begun.findIndex((op, at) => !isSame(op, ended[at]));
  if (place < 0 && begun.length === ended.length) return;
  const what = place < 0 ? 'has more steps' : `step ${place + 1} is another one`;
  throw new BadHistory(number, `completes another transaction than line ${beganAt} began: ${what}`);
}

/** What is not known to be read is empty: a key that nobody wrote. */
function answered(op: ListOp): ListOp {
  return op.f === 'r' && op.value === undefined ? { ...op, value: [] } : op;
}

/**
 * Reads a history of transactions on lists, one JSON object per line. Times are numbers of lines. A
 * transaction that nobody completes has an unknown outcome. Transactions are in the order in which they
 * began.
 *
 * @throws BadHistory where the file breaks the format.
 */
export function parseTransactions(chunks: Iterable<string>): Transaction[] {
  const transactions: Transaction[] = [];
  const open = new OpenOperations<Begun>();
  for (const line of jsonLines(chunks)) {
    const { number } = line;
    const { process, type } = headOf(line);
    if (type === 'invoke') {
      const ops = opsIn(line);
      open.begin(process, { at: transactions.length, ops }, line);
      const unanswered = ops.map((op): ListOp => (op.f === 'r' ? { ...op, value: undefined } : op));
      const times = { invokedMs: number, returnedMs: Number.POSITIVE_INFINITY };
      transactions.push({ process, outcome: 'info', ops: unanswered, ...times });
      continue;
    }
    const { begun, beganAt } = open.end(process, line);
    const ops = type === 'ok' || line.fields['txn'] !== undefined ? opsIn(line) : begun.ops;
    checkSame(begun.ops, beganAt, ops, number);
    if (type === 'info') continue;
    transactions[begun.at] = {
      process,
      outcome: type,
      ops: type === 'ok' ? ops.map(answered) : ops,
      invokedMs: beganAt,
      returnedMs: number,
    };
  }
  if (transactions.length === 0) throw new BadHistory(1, 'there are no transactions');
  return transactions;
}
