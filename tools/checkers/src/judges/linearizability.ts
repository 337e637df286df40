import { ONLY_KEY, parseHistory } from '../files/history-file.js';
import type { Operation } from '../history.js';
import { checkKey, type Contradiction } from '../linearizability.js';
import { OTHER_VALUE } from '../linear/minimise.js';
import { EXIT, plural, type ExitCode, type Speech } from './outcome.js';

function show(value: string | undefined): string {
  return value ?? 'nil';
}

function describe({ action }: Operation): string {
  switch (action.f) {
    case 'write':
      return `write ${show(action.value)}`;
    case 'read':
      return `read ${show(action.value)}`;
    case 'cas':
      return `cas ${show(action.expected)} -> ${show(action.value)}`;
    case 'add':
      return `add ${action.delta} = ${action.result}`;
  }
}

/** A contradiction as text; times are line numbers. */
function explain(key: string, { initial, upTo }: Contradiction): string {
  const rows = upTo.map((operation) => {
    const until =
      operation.returnedMs === Number.POSITIVE_INFINITY
        ? `line ${operation.invokedMs} to ?`
        : `lines ${operation.invokedMs} to ${operation.returnedMs}`;
    return `  ${until.padEnd(24)} process ${operation.process.padEnd(6)} ${describe(operation)}`;
  });
  const named = initial.filter((value) => value !== OTHER_VALUE).map(show);
  if (named.length < initial.length) named.push('something that none of these names');
  return [
    key === ONLY_KEY ? 'not linearizable' : `key ${key}: not linearizable`,
    `The key holds ${named.join(', or ')}. Then no order explains ${upTo.length === 1 ? 'this' : 'these'}:`,
    ...rows,
    '',
  ].join('\n');
}

/** Judges a history of operations on single keys. */
export function judgeLinearizability(chunks: Iterable<string>, { out, error }: Speech): ExitCode {
  const operations = parseHistory(chunks);
  const byKey = new Map<string, Operation[]>();
  for (const operation of operations) {
    const list = byKey.get(operation.key);
    if (list === undefined) byKey.set(operation.key, [operation]);
    else list.push(operation);
  }
  let code: ExitCode = EXIT.holds;
  for (const [key, list] of byKey) {
    const result = checkKey(key, list);
    if (result.type === 'violated') {
      out(explain(key, result));
      code = EXIT.violated;
    } else if (result.type === 'undecided') {
      error(`key ${key}: too hard to decide\n`);
      if (code === EXIT.holds) code = EXIT.undecided;
    }
  }
  if (code === EXIT.holds)
    out(`linearizable: ${operations.length} operations on ${plural(byKey.size, 'key')}\n`);
  return code;
}
