import { UsageError } from '../exit-codes.js';

/** A condition of the script. */
export type ScriptCondition = { readonly line: number; readonly key: Buffer } & (
  { readonly kind: 'exists' | 'absent' } | { readonly kind: 'value' | 'version'; readonly operand: Buffer }
);

/** How a key is to be held, as the SDK takes it. */
export interface ScriptLock {
  readonly strength?: 'share' | 'key-share';
  readonly wait?: 'nowait' | 'skip-locked';
}

/** An operation of the script, with the line that it is on. */
export type ScriptOperation = { readonly line: number; readonly key: Buffer } & (
  | { readonly op: 'get' | 'delete' | 'scan' }
  | { readonly op: 'get-for-update'; readonly lock: ScriptLock }
  | { readonly op: 'put'; readonly value: Buffer }
  | { readonly op: 'increment'; readonly delta: bigint }
);

export interface Script {
  /** With some, the script is a one-shot: `then` or `otherwise` is carried out. */
  readonly conditions: readonly ScriptCondition[];
  /** All operations, where there are no conditions. */
  readonly then: readonly ScriptOperation[];
  readonly otherwise: readonly ScriptOperation[];
}

/** Turns a word of the script into bytes; throws UsageError. */
export type BytesOf = (word: string, name: string) => Buffer;

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\', '"': '"' };
const INT64_MAX = 2n ** 63n - 1n;

/** Reads a whole script. Throws UsageError that says which line is wrong, and what is. */
export function parseScript(text: string, bytesOf: BytesOf): Script {
  const conditions: ScriptCondition[] = [];
  const then: ScriptOperation[] = [];
  const otherwise: ScriptOperation[] = [];
  let section: 'if' | 'then' | 'else' = 'if';
  for (const [index, content] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    const words = wordsOf(content, line);
    const [first] = words;
    if (first === undefined) continue;
    if (first === 'then:' || first === 'else:') {
      if (words.length > 1) throw wrong(line, `${first} stands alone`);
      section = sectionAfter(section, first, line, conditions.length);
    } else if (first === 'if') {
      if (section !== 'if' || then.length > 0) throw wrong(line, 'conditions come before all operations');
      conditions.push(conditionOf(words, line, bytesOf));
    } else {
      const operation = operationOf(words, line, bytesOf);
      const { op } = operation;
      if ((op === 'scan' || op === 'get-for-update') && conditions.length > 0)
        throw wrong(line, `${op} cannot be in a script with conditions`);
      (section === 'else' ? otherwise : then).push(operation);
    }
  }
  if (then.length + otherwise.length + conditions.length === 0)
    throw new UsageError('the script does nothing');
  return { conditions, then, otherwise };
}

function sectionAfter(
  section: 'if' | 'then' | 'else',
  word: 'then:' | 'else:',
  line: number,
  conditions: number,
): 'then' | 'else' {
  if (conditions === 0) throw wrong(line, `${word} needs a condition before it: if KEY exists`);
  if (word === 'then:' && section !== 'if') throw wrong(line, 'then: comes once, before else:');
  if (word === 'else:' && section === 'else') throw wrong(line, 'else: comes once');
  return word === 'then:' ? 'then' : 'else';
}

function conditionOf(words: readonly string[], line: number, bytesOf: BytesOf): ScriptCondition {
  const [, word, kind, operand, ...more] = words;
  const form = 'if KEY exists, if KEY absent, if KEY = VALUE or if KEY version TOKEN';
  if (word === undefined || kind === undefined || more.length > 0) throw wrong(line, `write ${form}`);
  const key = keyOf(word, line, bytesOf);
  switch (kind) {
    case 'exists':
    case 'absent':
      if (operand !== undefined) throw wrong(line, `${kind} takes nothing behind it`);
      return { line, key, kind };
    case '=':
      if (operand === undefined) throw wrong(line, 'which value? Write: if KEY = VALUE');
      return { line, key, kind: 'value', operand: atLine(line, () => bytesOf(operand, 'value')) };
    case 'version':
      if (operand === undefined || !/^[0-9a-fA-F]{24}$/.test(operand))
        throw wrong(line, 'a version is what --json shows of a key: 24 hexadecimal digits');
      return { line, key, kind, operand: Buffer.from(operand, 'hex') };
    default:
      throw wrong(line, `"${kind}" is no condition: write ${form}`);
  }
}

function operationOf(words: readonly string[], line: number, bytesOf: BytesOf): ScriptOperation {
  const [name = '', word, more, ...rest] = words;
  const form = FORMS[name];
  if (form === undefined)
    throw wrong(
      line,
      `"${name}" is no operation: there are get, get-for-update, put, delete, increment, scan and if`,
    );
  if (name === 'get-for-update') return lockingOf(words, line, bytesOf);
  const isTooShort = word === undefined || (name === 'put' && more === undefined);
  const takes = name === 'put' || name === 'increment' ? 2 : 1;
  if (isTooShort || rest.length > 0 || (takes === 1 && more !== undefined))
    throw wrong(line, `write ${form}`);
  if (name === 'scan') return { line, op: 'scan', key: atLine(line, () => bytesOf(word, 'prefix')) };
  const key = keyOf(word, line, bytesOf);
  if (name === 'put')
    return { line, op: 'put', key, value: atLine(line, () => bytesOf(more ?? '', 'value')) };
  if (name === 'increment') return { line, op: 'increment', key, delta: deltaOf(more ?? '1', line) };
  return { line, op: name === 'get' ? 'get' : 'delete', key };
}

function lockingOf(words: readonly string[], line: number, bytesOf: BytesOf): ScriptOperation {
  const [name = '', word, ...how] = words;
  let lock: ScriptLock = {};
  for (const each of how) {
    if ((each === 'share' || each === 'key-share') && lock.strength === undefined)
      lock = { ...lock, strength: each };
    else if ((each === 'nowait' || each === 'skip-locked') && lock.wait === undefined)
      lock = { ...lock, wait: each };
    else throw wrong(line, `write ${FORMS[name] ?? name}`);
  }
  if (word === undefined) throw wrong(line, `write ${FORMS[name] ?? name}`);
  return { line, op: 'get-for-update', key: keyOf(word, line, bytesOf), lock };
}

const FORMS: Readonly<Record<string, string>> = {
  get: 'get KEY',
  'get-for-update': 'get-for-update KEY, with share or key-share, and nowait or skip-locked behind it',
  put: 'put KEY VALUE (a value with spaces in quotes)',
  delete: 'delete KEY',
  increment: 'increment KEY, or increment KEY N',
  scan: 'scan PREFIX',
};

function keyOf(word: string, line: number, bytesOf: BytesOf): Buffer {
  const key = atLine(line, () => bytesOf(word, 'key'));
  if (key.length === 0) throw wrong(line, 'a key must not be empty');
  return key;
}

function deltaOf(word: string, line: number): bigint {
  if (!/^[+-]?\d{1,20}$/.test(word)) throw wrong(line, `"${word}" is not a whole number`);
  const delta = BigInt(word);
  if (delta > INT64_MAX || delta < -INT64_MAX - 1n) throw wrong(line, `${word} does not fit 64 bits`);
  return delta;
}

/** What is wrong with a word, with its line. */
function atLine<Result>(line: number, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (error instanceof UsageError) throw wrong(line, error.message);
    throw error;
  }
}

function wrong(line: number, message: string): UsageError {
  return new UsageError(`line ${line}: ${message}`);
}

/**
 * Words between spaces. 'single quotes' keep everything, "double quotes" know \n \r \t \\ \" and \x41; a #
 * that begins a word begins a comment.
 */
function wordsOf(content: string, line: number): string[] {
  const words: string[] = [];
  let at = 0;
  while (at < content.length) {
    const rest = content.slice(at);
    const space = /^\s+/.exec(rest);
    if (space !== null) {
      at += space[0].length;
      continue;
    }
    if (rest.startsWith('#')) break;
    const word = /^(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|([^\s'"][^\s]*))(?=\s|$)/.exec(rest);
    if (word === null) throw wrong(line, 'a quote is not closed, or something stands right behind it');
    const [whole, single, double, bare] = word;
    words.push(double === undefined ? (single ?? bare ?? '') : unescaped(double, line));
    at += whole.length;
  }
  return words;
}

function unescaped(text: string, line: number): string {
  return text.replace(/\\(x([0-9a-fA-F]{2})|.)/g, (_whole, name: string, hex: string | undefined) => {
    if (hex !== undefined) {
      const code = Number.parseInt(hex, 16);
      if (code >= 0x80) throw wrong(line, `\\x${hex} is no text: give bytes with --hex or --base64`);
      return String.fromCharCode(code);
    }
    const character = ESCAPES[name];
    if (character === undefined)
      throw wrong(line, `\\${name} is not known: there are \\n \\r \\t \\\\ \\" and \\x41`);
    return character;
  });
}
