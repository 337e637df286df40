import { messageOf } from '@cairn/base';

import { BadHistory } from './files/json-lines.js';
import { judgeLinearizability } from './judges/linearizability.js';
import { judgeListAppend } from './judges/list-append.js';
import { EXIT, type ExitCode, type Speech } from './judges/outcome.js';
import { judgeBank, judgeLongFork, judgeMonotonic, judgeSet, judgeWatches } from './judges/workloads.js';
import { LEVELS } from './list-append/anomalies.js';

export { EXIT } from './judges/outcome.js';

export const USAGE = `usage: npm run -s check -- CHECKER FILE [OPTION]...

Judges a history of one JSON object per line; FILE - is the standard input.

linearizability  operations on single keys
  {"process":0,"type":"invoke"|"ok"|"fail"|"info","f":"read"|"write"|"cas","key":"k","value":...}
list-append  transactions that append to lists and read them
  {"process":0,"type":"invoke"|"ok"|"fail"|"info","txn":[["append","x",1],["r","y",[1,2]]]}
  --level LEVEL     ${LEVELS.join(', ')}; the first unless said
bank  reads of all accounts between which money is transferred
  {"process":0,"type":...,"f":"read"|"transfer","value":{"a":10,"b":20}}
  --total N         what accounts hold together; unless said, what the first read shows
  --allow-negative  accounts may be below zero
set  elements that are added, and a final read
  {"process":0,"type":...,"f":"add"|"read","value":1|[1,2]}
long-fork  keys that are written once, and reads of several at once
  {"process":0,"type":...,"f":"write","key":"x","value":1}  {...,"f":"read","value":{"x":1,"y":null}}
monotonic  a counter that only grows, with commit timestamps
  {"process":0,"type":...,"f":"inc"|"read","key":"k","value":1,"ts":17}
watch  writes, and what watchers were told
  {"type":"write","key":"k","value":1,"ts":17,"outcome":"ok"|"fail"|"info","txn":false}
  {"type":"start"|"resume"|"event"|"progress","watcher":0,"ts":17,"key":"k","value":1}

exit codes  0 nothing found   1 violated   2 bad input   3 too hard to decide (linearizability)
`;

/** What a command may touch. */
export interface CommandPorts extends Speech {
  /** The text of a file, or of the standard input for '-', in pieces. */
  read(file: string): Iterable<string>;
}

/** A file that cannot be read. */
class Unreadable extends Error {}

function* guarded(file: string, ports: CommandPorts): Generator<string> {
  try {
    yield* ports.read(file);
  } catch (error) {
    throw new Unreadable(messageOf(error));
  }
}

type Judge = (chunks: Iterable<string>, speech: Speech) => ExitCode;

/** Takes its options out of the arguments; undefined where one is not understood. */
type JudgeOf = (options: Map<string, string | undefined>) => Judge | undefined;

function takeNumber(options: Map<string, string | undefined>, name: string): number | undefined | 'bad' {
  if (!options.has(name)) return undefined;
  const text = options.get(name) ?? '';
  options.delete(name);
  return text !== '' && Number.isFinite(Number(text)) ? Number(text) : 'bad';
}

const CHECKERS: ReadonlyMap<string, JudgeOf> = new Map<string, JudgeOf>([
  ['linearizability', () => judgeLinearizability],
  [
    'list-append',
    (options) => {
      const name = options.has('level') ? options.get('level') : LEVELS[0];
      options.delete('level');
      const level = LEVELS.find((each) => each === name);
      return level && ((chunks, speech) => judgeListAppend(chunks, level, speech));
    },
  ],
  [
    'bank',
    (options) => {
      const total = takeNumber(options, 'total');
      const mayBeNegative = options.has('allow-negative');
      if (total === 'bad' || options.get('allow-negative') !== undefined) return undefined;
      options.delete('allow-negative');
      return (chunks, speech) => judgeBank(chunks, { total, mayBeNegative }, speech);
    },
  ],
  ['set', () => judgeSet],
  ['long-fork', () => judgeLongFork],
  ['monotonic', () => judgeMonotonic],
  ['watch', () => judgeWatches],
]);

/** Options that stand alone. */
const FLAGS: ReadonlySet<string> = new Set(['allow-negative']);

/** `--name value`, `--name=value` and flags; what is none of these is a plain argument. */
function parseArguments(args: readonly string[]): {
  readonly plain: string[];
  readonly options: Map<string, string | undefined>;
} {
  const plain: string[] = [];
  const options = new Map<string, string | undefined>();
  for (let at = 0; at < args.length; at += 1) {
    const argument = args[at] as string;
    if (!argument.startsWith('--')) {
      plain.push(argument);
      continue;
    }
    const [name = '', value] = argument.slice(2).split('=', 2);
    if (value === undefined && !FLAGS.has(name)) at += 1;
    options.set(name, value ?? (FLAGS.has(name) ? undefined : args[at]));
  }
  return { plain, options };
}

/** The judge that the arguments ask for, and the file. */
function understood(args: readonly string[]): { readonly judge: Judge; readonly file: string } | undefined {
  const { plain, options } = parseArguments(args);
  const [checker = '', file, ...more] = plain;
  const judge = CHECKERS.get(checker)?.(options);
  if (judge === undefined || file === undefined || more.length > 0 || options.size > 0) return undefined;
  return { judge, file };
}

/** Carries out `check` with its arguments; answers the exit code. */
export function runCheck(args: readonly string[], ports: CommandPorts): ExitCode {
  if (args.includes('--help')) {
    ports.out(USAGE);
    return EXIT.holds;
  }
  const asked = understood(args);
  if (asked === undefined) {
    ports.error(USAGE);
    return EXIT.badInput;
  }
  const { judge, file } = asked;
  try {
    return judge(guarded(file, ports), ports);
  } catch (error) {
    if (error instanceof Unreadable) ports.error(`${file}: ${error.message}\n`);
    else if (error instanceof BadHistory) {
      ports.error(`${file === '-' ? 'standard input' : file}: ${error.message}\n`);
    } else throw error;
    return EXIT.badInput;
  }
}
