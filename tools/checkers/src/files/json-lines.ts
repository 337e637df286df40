import type { Name } from '../transactions.js';

/** A line of a history that cannot be understood; lines count from 1. */
export class BadHistory extends Error {
  readonly line: number;

  constructor(line: number, why: string) {
    super(`line ${line}: ${why}`);
    this.line = line;
  }
}

/** An object of a history, and the number of its line. */
export interface JsonLine {
  readonly number: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Characters of a line shown when it is no JSON. */
const SHOWN_MAX = 60;

function* linesOf(chunks: Iterable<string>): Generator<string> {
  let rest = '';
  for (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  yield rest;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parsed(text: string, number: number): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadHistory(number, `not JSON: ${text.slice(0, SHOWN_MAX)}`);
  }
  if (!isObject(value)) throw new BadHistory(number, 'not a JSON object');
  return value;
}

/**
 * The objects of a text in pieces, one a line; blank lines and a byte order mark are passed over.
 *
 * @throws BadHistory at a line that is no object.
 */
export function* jsonLines(chunks: Iterable<string>): Generator<JsonLine> {
  let number = 0;
  for (const line of linesOf(chunks)) {
    number += 1;
    const text = number === 1 ? line.replace(/^\uFEFF/, '') : line;
    if (text.trim() !== '') yield { number, fields: parsed(text, number) };
  }
}

/** A value as it stood in the file. */
export function shown(value: unknown): string {
  return JSON.stringify(value) ?? 'missing';
}

/** @throws BadHistory unless the value is a text or a number that keeps its digits. */
export function nameIn(value: unknown, what: string, number: number): Name {
  if (typeof value === 'string') return value;
  if (typeof value !== 'number') {
    throw new BadHistory(number, `${what} must be a string or a number, not ${shown(value)}`);
  }
  return numberIn(value, what, number);
}

/** @throws BadHistory unless the value is a number that keeps its digits. */
export function numberIn(value: unknown, what: string, number: number): number {
  if (typeof value !== 'number')
    throw new BadHistory(number, `${what} must be a number, not ${shown(value)}`);
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    throw new BadHistory(number, `${what} is beyond 2^53, where numbers lose digits: write it as text`);
  }
  return value;
}

/** @throws BadHistory unless the value is one of those allowed. */
export function oneOf<T extends string>(
  allowed: readonly T[],
  value: unknown,
  what: string,
  number: number,
): T {
  const found = allowed.find((each) => each === value);
  if (found !== undefined) return found;
  throw new BadHistory(number, `${what} must be one of ${allowed.join(', ')}, not ${shown(value)}`);
}

/** @throws BadHistory unless the value is a list. */
export function listIn(value: unknown, what: string, number: number): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new BadHistory(number, `${what} must be a list, not ${shown(value)}`);
}

/** @throws BadHistory unless the value is an object. */
export function fieldsIn(value: unknown, what: string, number: number): Readonly<Record<string, unknown>> {
  if (isObject(value)) return value;
  throw new BadHistory(number, `${what} must be an object, not ${shown(value)}`);
}

/** The same text for equal values, whatever the order of their fields; nil has none: it is absence. */
export function valueText(value: unknown): string | undefined {
  return value === null || value === undefined ? undefined : JSON.stringify(sorted(value));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  // Not assigned one by one: a field may be called __proto__.
  return Object.fromEntries(entries.map(([name, field]) => [name, sorted(field)]));
}
