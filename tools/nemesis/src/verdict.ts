import { checkKey, counterFaults, type Operation } from '@cairn/checkers';

/** What one checker says. */
export interface Verdict {
  readonly checker: string;
  readonly holds: boolean;
  /** What was looked at, for people. */
  readonly looked: string;
  /** What is wrong, smallest first; few lines. */
  readonly findings: readonly string[];
}

const FINDINGS_MAX = 10;
/** Operations shown of a history that has no explanation: the last ones, which made it impossible. */
const OPERATIONS_SHOWN = 16;

export function verdictOf(checker: string, looked: string, findings: readonly string[]): Verdict {
  const more = findings.length > FINDINGS_MAX ? [`and ${findings.length - FINDINGS_MAX} more`] : [];
  return {
    checker,
    holds: findings.length === 0,
    looked,
    findings: [...findings.slice(0, FINDINGS_MAX), ...more],
  };
}

/** One operation in a line. */
export function showOperation({ process, key, action, invokedMs, returnedMs }: Operation): string {
  const end = returnedMs === Number.POSITIVE_INFINITY ? '?' : returnedMs.toFixed(1);
  const show = (value: string | undefined): string => value ?? 'nothing';
  const text = (): string => {
    switch (action.f) {
      case 'read':
        return `read ${show(action.value)}`;
      case 'write':
        return `write ${show(action.value)}`;
      case 'cas': {
        const outcome = action.succeeded ? '' : `, found ${show(action.found)}`;
        return `cas ${show(action.expected)} to ${show(action.value)}${outcome}`;
      }
      case 'add':
        return `add ${action.delta}, answered ${action.result === '' ? '?' : action.result}`;
    }
  };
  return `${invokedMs.toFixed(1)} to ${end}: client ${process} ${key}: ${text()}`;
}

/** Judges every key by itself. A key that is too hard to decide does not hold. */
export function judgeKeys(byKey: ReadonlyMap<string, readonly Operation[]>): Verdict {
  const findings: string[] = [];
  let [operations, unknown] = [0, 0];
  for (const [key, all] of byKey) {
    operations += all.length;
    unknown += all.filter(({ returnedMs }) => returnedMs === Number.POSITIVE_INFINITY).length;
    const result = checkKey(key, all);
    if (result.type === 'undecided') findings.push(`${key}: could not be decided (${all.length} operations)`);
    if (result.type !== 'violated') continue;
    const shown = [...result.upTo].sort((a, b) => a.returnedMs - b.returnedMs).slice(-OPERATIONS_SHOWN);
    const text = shown.map((each) => `    ${showOperation(each)}`).join('\n');
    findings.push(`${key}: no order explains these ${result.upTo.length} operations; the last are\n${text}`);
  }
  const looked = `${operations} operations, ${unknown} of them with unknown outcome, on ${byKey.size} keys`;
  return verdictOf('linearizability', looked, findings);
}

/** Judges counters against what they hold in the end. */
export function judgeCounters(
  byKey: ReadonlyMap<string, readonly Operation[]>,
  finals: ReadonlyMap<string, number>,
): Verdict {
  const findings: string[] = [];
  let operations = 0;
  for (const [key, final] of finals) {
    const all = byKey.get(key) ?? [];
    operations += all.length;
    findings.push(...counterFaults(key, all, final));
  }
  return verdictOf('counters', `${operations} increments of ${finals.size} counters`, findings);
}
