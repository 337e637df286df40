import { BadHistory } from '../files/json-lines.js';
import { parseTransactions } from '../files/list-append-file.js';
import {
  ANOMALIES,
  forbiddenAt,
  isForbidden,
  type Anomaly,
  type IsolationLevel,
} from '../list-append/anomalies.js';
import { checkListAppend, type ListAppendVerdict } from '../list-append/check.js';
import { AmbiguousHistory } from '../list-append/key-histories.js';
import type { Transaction } from '../transactions.js';
import { EXIT, plural, type ExitCode, type Speech } from './outcome.js';

function check(transactions: readonly Transaction[]): ListAppendVerdict {
  try {
    return checkListAppend(transactions, { clock: 'lines' });
  } catch (error) {
    if (!(error instanceof AmbiguousHistory)) throw error;
    throw new BadHistory(transactions[error.at]?.invokedMs ?? 1, error.message);
  }
}

function anomalyText({ name, also, explanation }: Anomaly): string {
  const title = also.length === 0 ? name : `${name} (${also.join(', ')})`;
  return `${title}\n${explanation.replace(/^/gm, '  ')}\n\n`;
}

/** Judges a history of transactions on lists; only what the level forbids counts. */
export function judgeListAppend(chunks: Iterable<string>, level: IsolationLevel, { out }: Speech): ExitCode {
  const transactions = parseTransactions(chunks);
  const { anomalies, counts, keyCount } = check(transactions);
  const looked = `${plural(transactions.length, 'transaction')} on ${plural(keyCount, 'key')}`;
  const forbidden = anomalies.filter((anomaly) => isForbidden(anomaly, level));
  for (const anomaly of forbidden) out(anomalyText(anomaly));
  const countsOf = (isTold: (name: (typeof ANOMALIES)[number]) => boolean): string =>
    ANOMALIES.filter((name) => counts.has(name) && isTold(name))
      .map((name) => `${name} ${counts.get(name)}`)
      .join(', ');
  const isWrong = (name: (typeof ANOMALIES)[number]): boolean => forbiddenAt(level).has(name);
  const permitted = countsOf((name) => !isWrong(name));
  if (permitted !== '') out(`permitted at ${level}: ${permitted}\n`);
  out(
    forbidden.length === 0
      ? `no anomalies at ${level}: ${looked}\n`
      : `not ${level}: ${countsOf(isWrong)} in ${looked}\n`,
  );
  return forbidden.length === 0 ? EXIT.holds : EXIT.violated;
}
