import type { LogFields, Logger } from '@cairn/ports';

/** Lines kept for the report of a failure; older ones are forgotten. */
const TAIL_LINES_MAX = 4_000;

/** Lines of source and folders say nothing of what happened: the digest leaves them out. */
const STACK_FRAME = /(?:\\n|\n) +at (?:(?!\\n|\n)[^"])*/g;

/** Something that must never happen, with the virtual time at which it was seen. */
export interface Violation {
  readonly checker: string;
  readonly atMs: number;
  readonly message: string;
}

type Level = 'debug' | 'info' | 'warn' | 'error';
export type LineListener = (node: string, event: string, fields: LogFields, text: string) => void;

/**
 * Sees what all nodes of one run log, and what its checkers find. Folds every line into a digest: two runs of
 * one seed that do the same have the same digest.
 */
export class Observer {
  readonly violations: Violation[] = [];
  readonly errorLines: string[] = [];
  readonly #nowMs: () => number;
  readonly #describe: () => string[];
  /** How the stores stood when the first violation was seen. */
  stores: readonly string[] = [];
  readonly #listeners: LineListener[] = [];
  #tail: string[] = [];
  #hash = 0x811c9dc5;
  #lines = 0;

  /** `describe` tells how all stores stand. */
  constructor(nowMs: () => number, describe: () => string[] = () => []) {
    this.#nowMs = nowMs;
    this.#describe = describe;
  }

  get lines(): number {
    return this.#lines;
  }

  get digest(): string {
    return this.#hash.toString(16).padStart(8, '0');
  }

  /** The newest lines, oldest first. */
  tail(count: number): string[] {
    return this.#tail.slice(-count);
  }

  onLine(listener: LineListener): void {
    this.#listeners.push(listener);
  }

  violate(checker: string, message: string): void {
    if (this.violations.length === 0) this.stores = this.#describe();
    this.violations.push({ checker, atMs: this.#nowMs(), message });
    this.note('checker', `VIOLATION ${checker}: ${message}`);
  }

  /** A line of the harness itself. */
  note(who: string, text: string): void {
    this.#keep(`${this.#nowMs().toFixed(3)} ${who} ${text}`);
  }

  loggerFor(node: string, bound: LogFields = {}): Logger {
    const line = (level: Level, event: string, fields: LogFields | undefined): void => {
      const all = { ...bound, ...fields };
      const text = `${this.#nowMs().toFixed(3)} ${node} ${level} ${event} ${JSON.stringify(all)}`;
      this.#keep(text);
      if (level === 'error') this.errorLines.push(text);
      for (const listener of this.#listeners) listener(node, event, all, text);
    };
    return {
      debug: (event, fields) => {
        line('debug', event, fields);
      },
      info: (event, fields) => {
        line('info', event, fields);
      },
      warn: (event, fields) => {
        line('warn', event, fields);
      },
      error: (event, fields) => {
        line('error', event, fields);
      },
      with: (fields) => this.loggerFor(node, { ...bound, ...fields }),
    };
  }

  #keep(text: string): void {
    this.#lines += 1;
    const happened = text.includes('  at ') ? text.replace(STACK_FRAME, '') : text;
    for (let at = 0; at < happened.length; at += 1) {
      this.#hash = Math.imul(this.#hash ^ happened.charCodeAt(at), 16777619) >>> 0;
    }
    this.#tail.push(text);
    if (this.#tail.length > TAIL_LINES_MAX * 2) this.#tail = this.#tail.slice(-TAIL_LINES_MAX);
  }
}
