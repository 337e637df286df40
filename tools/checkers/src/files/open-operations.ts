import type { Name } from '../transactions.js';
import { BadHistory, nameIn, oneOf, shown, type JsonLine } from './json-lines.js';

export const TYPES = ['invoke', 'ok', 'fail', 'info'] as const;
export type LineType = (typeof TYPES)[number];

/** What a process began, and how it ended. */
export interface Ended<T> {
  readonly process: Name;
  readonly begun: T;
  readonly beganAt: number;
}

/** Which process has what open: one operation at a time. */
export class OpenOperations<T> {
  readonly #open = new Map<Name, { readonly begun: T; readonly at: number }>();

  /** @throws BadHistory when the process has something open. */
  begin(process: Name, begun: T, { number }: JsonLine): void {
    const other = this.#open.get(process);
    if (other !== undefined) {
      throw new BadHistory(
        number,
        `process ${shown(process)} begins an operation while that of line ${other.at} is open`,
      );
    }
    this.#open.set(process, { begun, at: number });
  }

  /** @throws BadHistory when the process has nothing open. */
  end(process: Name, { number }: JsonLine): Ended<T> {
    const open = this.#open.get(process);
    if (open === undefined) {
      throw new BadHistory(number, `process ${shown(process)} completes what it did not begin`);
    }
    this.#open.delete(process);
    return { process, begun: open.begun, beganAt: open.at };
  }

  /** What nobody completed. */
  *rest(): Generator<Ended<T>> {
    for (const [process, { begun, at }] of this.#open) yield { process, begun, beganAt: at };
  }
}

/** @throws BadHistory unless the line says who and what. */
export function headOf({ fields, number }: JsonLine): { readonly process: Name; readonly type: LineType } {
  return {
    process: nameIn(fields['process'], 'process', number),
    type: oneOf(TYPES, fields['type'], 'type', number),
  };
}
