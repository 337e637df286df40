import { parseWatches } from '../files/watch-file.js';
import { bankRulesOf, parseBank, parseLongFork, parseMonotonic, parseSet } from '../files/workload-files.js';
import { bankViolations } from '../workloads/bank.js';
import { longForkViolations } from '../workloads/long-fork.js';
import { monotonicViolations } from '../workloads/monotonic.js';
import { setViolations } from '../workloads/sets.js';
import { watchViolations } from '../workloads/watch.js';
import { plural, tellViolations, type ExitCode, type Speech } from './outcome.js';

export interface BankOptions {
  /** undefined: what the first read shows. */
  readonly total: number | undefined;
  readonly mayBeNegative: boolean;
}

export function judgeBank(
  chunks: Iterable<string>,
  { total, mayBeNegative }: BankOptions,
  speech: Speech,
): ExitCode {
  const reads = parseBank(chunks);
  const rules = bankRulesOf(reads, total, mayBeNegative);
  const accounts = plural(rules.accounts.length, 'account');
  const looked = `${plural(reads.length, 'read')} of ${accounts}, total ${rules.total}`;
  return tellViolations(bankViolations(rules, reads), looked, speech);
}

export function judgeSet(chunks: Iterable<string>, speech: Speech): ExitCode {
  const { adds, finalRead } = parseSet(chunks);
  const looked = `${plural(adds.length, 'add')}, ${plural(finalRead.length, 'element')} in the final read`;
  return tellViolations(setViolations(adds, finalRead), looked, speech);
}

export function judgeLongFork(chunks: Iterable<string>, speech: Speech): ExitCode {
  const { writes, reads } = parseLongFork(chunks);
  const looked = `${plural(writes.length, 'write')}, ${plural(reads.length, 'read')}`;
  return tellViolations(longForkViolations(writes, reads), looked, speech);
}

export function judgeMonotonic(chunks: Iterable<string>, speech: Speech): ExitCode {
  const sights = parseMonotonic(chunks);
  return tellViolations(monotonicViolations(sights), plural(sights.length, 'value'), speech);
}

export function judgeWatches(chunks: Iterable<string>, speech: Speech): ExitCode {
  const watches = parseWatches(chunks);
  const violations = watches.flatMap(({ watcher, writes, records }) =>
    watchViolations(writes, records).map(({ name, explanation }) => ({
      name,
      explanation: `watcher ${watcher}: ${explanation}`,
    })),
  );
  const records = watches.reduce((sum, each) => sum + each.records.length, 0);
  return tellViolations(
    violations,
    `${plural(watches.length, 'watcher')}, ${plural(records, 'record')}`,
    speech,
  );
}
