import type { Name } from '../transactions.js';
import type { BankRead, BankRules } from '../workloads/bank.js';
import type { GroupRead, SingleWrite } from '../workloads/long-fork.js';
import type { CounterSight } from '../workloads/monotonic.js';
import type { SetAdd } from '../workloads/sets.js';
import {
  BadHistory,
  fieldsIn,
  jsonLines,
  listIn,
  nameIn,
  numberIn,
  oneOf,
  type JsonLine,
} from './json-lines.js';
import { headOf, OpenOperations } from './open-operations.js';

/** An operation that is over, or will never be. */
interface Completed<F extends string> {
  readonly f: F;
  readonly type: 'ok' | 'fail' | 'info';
  readonly began: JsonLine;
  /** The line that began it where there is none that ended it. */
  readonly ended: JsonLine;
}

/** The operations of a history, in the order in which they ended. */
function* completedIn<F extends string>(
  chunks: Iterable<string>,
  functions: readonly F[],
): Generator<Completed<F>> {
  const open = new OpenOperations<{ readonly f: F; readonly line: JsonLine }>();
  let isEmpty = true;
  for (const line of jsonLines(chunks)) {
    isEmpty = false;
    const { process, type } = headOf(line);
    const f = oneOf(functions, line.fields['f'], 'f', line.number);
    if (type === 'invoke') {
      open.begin(process, { f, line }, line);
      continue;
    }
    const { begun } = open.end(process, line);
    if (begun.f !== f)
      throw new BadHistory(line.number, `completes a ${f}, but the process began a ${begun.f}`);
    yield { f, type, began: begun.line, ended: line };
  }
  if (isEmpty) throw new BadHistory(1, 'there are no operations');
  for (const { begun } of open.rest())
    yield { f: begun.f, type: 'info', began: begun.line, ended: begun.line };
}

function whereOf({ began, ended }: Completed<string>): string {
  return began === ended ? `line ${began.number}` : `lines ${began.number} to ${ended.number}`;
}

/** What the reads of a bank's history show; transfers are not looked at. */
export function parseBank(chunks: Iterable<string>): BankRead[] {
  const reads: BankRead[] = [];
  for (const operation of completedIn(chunks, ['read', 'transfer'])) {
    if (operation.f !== 'read' || operation.type !== 'ok') continue;
    const { number, fields } = operation.ended;
    const balances = Object.entries(fieldsIn(fields['value'], 'value', number)).map(
      ([account, balance]): [Name, number] => [account, numberIn(balance, `account ${account}`, number)],
    );
    reads.push({ where: whereOf(operation), balances: new Map(balances) });
  }
  if (reads.length === 0) throw new BadHistory(1, 'no read is acknowledged: there is nothing to judge');
  return reads;
}

/** The accounts that the first read shows; the total that it shows, unless one is given. */
export function bankRulesOf(
  reads: readonly BankRead[],
  total: number | undefined,
  mayBeNegative: boolean,
): BankRules {
  const balances = reads[0]?.balances ?? new Map<Name, number>();
  let sum = 0;
  for (const balance of balances.values()) sum += balance;
  return { accounts: [...balances.keys()], total: total ?? sum, mayBeNegative };
}

/** All adds, and the acknowledged read that began last. */
export function parseSet(chunks: Iterable<string>): { readonly adds: SetAdd[]; readonly finalRead: Name[] } {
  const operations = [...completedIn(chunks, ['add', 'read'])];
  let final: Completed<'add' | 'read'> | undefined;
  for (const each of operations) {
    if (each.f !== 'read' || each.type !== 'ok') continue;
    if (final === undefined || each.began.number > final.began.number) final = each;
  }
  if (final === undefined) throw new BadHistory(1, 'no read is acknowledged: there is nothing to judge by');
  const { began, ended } = final;
  const finalRead = listIn(ended.fields['value'], 'value', ended.number).map((each) =>
    nameIn(each, 'an element', ended.number),
  );
  const adds = operations
    .filter(({ f }) => f === 'add')
    .map((add): SetAdd => {
      const wasOpen = add.type === 'ok' && add.ended.number > began.number;
      const element = nameIn(add.began.fields['value'], 'value', add.began.number);
      return { element, outcome: wasOpen ? 'info' : add.type, where: whereOf(add) };
    });
  return { adds, finalRead };
}

/** Writes of keys that are written once, and reads of several of them at once; keys are compared as text. */
export function parseLongFork(chunks: Iterable<string>): {
  readonly writes: SingleWrite[];
  readonly reads: GroupRead[];
} {
  const [writes, reads]: [SingleWrite[], GroupRead[]] = [[], []];
  const written = new Set<string>();
  for (const operation of completedIn(chunks, ['write', 'read'])) {
    const { f, type, began, ended } = operation;
    const where = whereOf(operation);
    if (f === 'write') {
      const key = String(nameIn(began.fields['key'], 'key', began.number));
      if (written.has(key)) throw new BadHistory(began.number, `key ${key} is written for the second time`);
      written.add(key);
      writes.push({ key, value: nameIn(began.fields['value'], 'value', began.number), outcome: type, where });
    } else if (type === 'ok') {
      const values = Object.entries(fieldsIn(ended.fields['value'], 'value', ended.number)).map(
        ([key, value]): [Name, Name | undefined] => [
          key,
          value === null ? undefined : nameIn(value, `the value of ${key}`, ended.number),
        ],
      );
      reads.push({ where, values: new Map(values) });
    }
  }
  return { writes, reads };
}

/** What increments and reads of growing counters answered. */
export function parseMonotonic(chunks: Iterable<string>): CounterSight[] {
  const sights: CounterSight[] = [];
  for (const operation of completedIn(chunks, ['inc', 'read'])) {
    if (operation.type !== 'ok') continue;
    const { fields, number } = operation.ended;
    const key = operation.began.fields['key'] ?? fields['key'];
    sights.push({
      key: key === undefined ? 'counter' : nameIn(key, 'key', number),
      f: operation.f,
      value: numberIn(fields['value'], 'value', number),
      timestamp: numberIn(fields['ts'], 'ts', number),
      where: whereOf(operation),
    });
  }
  return sights;
}
