import { BadHistory, jsonLines, oneOf, shown, valueText, type JsonLine } from './json-lines.js';
import { TYPES } from './open-operations.js';
import type { Action, Operation } from '../history.js';

interface Line {
  readonly number: number;
  readonly process: string;
  readonly type: 'invoke' | 'ok' | 'fail' | 'info';
  readonly f: 'read' | 'write' | 'cas';
  readonly key: string;
  readonly value: unknown;
}

const FUNCTIONS = ['read', 'write', 'cas'] as const;

/** The key of operations that name none: the whole history is about one register. */
export const ONLY_KEY = '(the register)';

function nameOf(value: unknown, what: string, number: number): string {
  // 1 and "1" are different.
  if (typeof value === 'string' || typeof value === 'number') return JSON.stringify(value);
  throw new BadHistory(number, `${what} must be a string or a number, not ${shown(value)}`);
}

function lineOf({ fields, number }: JsonLine): Line {
  const { process, type, f, key, value } = fields;
  return {
    number,
    process: nameOf(process, 'process', number),
    type: oneOf(TYPES, type, 'type', number),
    f: oneOf(FUNCTIONS, f, 'f', number),
    key: key === undefined || key === null ? ONLY_KEY : nameOf(key, 'key', number),
    value,
  };
}

function actionOf({ f, value, number }: Line): Action {
  switch (f) {
    case 'read':
      return { f, value: valueText(value) };
    case 'write':
      return { f, value: valueText(value) };
    case 'cas': {
      if (!Array.isArray(value) || value.length !== 2) {
        throw new BadHistory(number, `the value of a cas must be [old, new], not ${shown(value)}`);
      }
      const [expected, replacement] = value.map(valueText);
      return { f, expected, value: replacement, succeeded: true, found: undefined };
    }
  }
}

/** A read's value is in its answer; the others say at the invocation what they do. */
function completed(invoked: Line, line: Line): Operation | undefined {
  const action = actionOf(line.f === 'read' ? line : invoked);
  const { process, key } = invoked;
  switch (line.type) {
    case 'ok':
      return { process, key, action, invokedMs: invoked.number, returnedMs: line.number };
    case 'info':
      return { process, key, action, invokedMs: invoked.number, returnedMs: Number.POSITIVE_INFINITY };
    default:
      return undefined;
  }
}

function checkCompletion(invoked: Line, line: Line): void {
  if (invoked.f !== line.f) {
    throw new BadHistory(
      line.number,
      `completes a ${line.f}, but process ${line.process} began a ${invoked.f}`,
    );
  }
  if (invoked.key !== line.key && line.key !== ONLY_KEY) {
    throw new BadHistory(line.number, `is about key ${line.key}, but its invocation about ${invoked.key}`);
  }
  if (line.type !== 'ok' || line.f === 'read' || line.value === undefined || line.value === null) return;
  if (valueText(line.value) !== valueText(invoked.value)) {
    throw new BadHistory(line.number, `says another value than its invocation in line ${invoked.number}`);
  }
}

/**
 * Reads a history of one JSON object per line. Times of the operations are line numbers: only the order of
 * the lines counts. `fail` = it surely did not happen, which says nothing about the key (a failed cas may
 * have met any other value, or not have been tried at all). `info`, or no completion by the end = it may
 * have happened, may happen later, or never. Reads without an answer are left out.
 *
 * @throws BadHistory where the file breaks the format.
 */
export function parseHistory(chunks: Iterable<string>): Operation[] {
  const operations: Operation[] = [];
  const open = new Map<string, Line>();
  const add = (operation: Operation | undefined): void => {
    if (operation === undefined) return;
    if (operation.action.f === 'read' && operation.returnedMs === Number.POSITIVE_INFINITY) return;
    operations.push(operation);
  };
  for (const row of jsonLines(chunks)) {
    const line = lineOf(row);
    const invoked = open.get(line.process);
    if (line.type === 'invoke') {
      if (invoked !== undefined) {
        throw new BadHistory(
          line.number,
          `process ${line.process} begins an operation while that of line ${invoked.number} is open`,
        );
      }
      if (line.f === 'cas') actionOf(line);
      open.set(line.process, line);
      continue;
    }
    if (invoked === undefined) {
      throw new BadHistory(line.number, `process ${line.process} completes what it did not begin`);
    }
    checkCompletion(invoked, line);
    open.delete(line.process);
    add(completed(invoked, line));
  }
  for (const invoked of open.values()) add(completed(invoked, { ...invoked, type: 'info' }));
  return operations;
}
