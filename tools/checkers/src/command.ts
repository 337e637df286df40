import { messageOf } from '@cairn/base';

import { BadHistory, ONLY_KEY, parseHistory } from './history-file.js';
import type { Operation } from './history.js';
import { checkKey, type Contradiction } from './linearizability.js';
import { OTHER_VALUE } from './linear/minimise.js';

export const EXIT = { linearizable: 0, violated: 1, badInput: 2, undecided: 3 } as const;

export const USAGE = `usage: npm run -s check -- linearizability FILE

Judges a history of one JSON object per line; FILE - is the standard input.
  {"process":0,"type":"invoke"|"ok"|"fail"|"info","f":"read"|"write"|"cas","key":"k","value":...}

exit codes  0 linearizable   1 not linearizable   2 bad input   3 too hard to decide
`;

/** What a command may touch. */
export interface CommandPorts {
  /** All of a file, or of the standard input for '-'. */
  read(file: string): string;
  out(text: string): void;
  error(text: string): void;
}

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

function judge(text: string, ports: CommandPorts): number {
  const operations = parseHistory(text);
  const byKey = new Map<string, Operation[]>();
  for (const operation of operations) {
    const list = byKey.get(operation.key);
    if (list === undefined) byKey.set(operation.key, [operation]);
    else list.push(operation);
  }
  let code: number = EXIT.linearizable;
  for (const [key, list] of byKey) {
    const result = checkKey(key, list);
    if (result.type === 'violated') {
      ports.out(explain(key, result));
      code = EXIT.violated;
    } else if (result.type === 'undecided') {
      ports.error(`key ${key}: too hard to decide\n`);
      if (code === EXIT.linearizable) code = EXIT.undecided;
    }
  }
  if (code === EXIT.linearizable) {
    ports.out(
      `linearizable: ${operations.length} operations on ${byKey.size} ${byKey.size === 1 ? 'key' : 'keys'}\n`,
    );
  }
  return code;
}

/** Carries out `check` with its arguments; answers the exit code. */
export function runCheck(args: readonly string[], ports: CommandPorts): number {
  const [checker, file, ...more] = args;
  if (args.includes('--help')) {
    ports.out(USAGE);
    return 0;
  }
  if (checker !== 'linearizability' || file === undefined || more.length > 0) {
    ports.error(USAGE);
    return EXIT.badInput;
  }
  let text: string;
  try {
    text = ports.read(file);
  } catch (error) {
    ports.error(`${file}: ${messageOf(error)}\n`);
    return EXIT.badInput;
  }
  try {
    return judge(text, ports);
  } catch (error) {
    if (!(error instanceof BadHistory)) throw error;
    ports.error(`${file === '-' ? 'standard input' : file}: ${error.message}\n`);
    return EXIT.badInput;
  }
}
