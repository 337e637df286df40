import type { Violation } from '../violation.js';
import { previousFault } from './watch-previous.js';
import {
  eventId,
  showValue,
  WatchedWrites,
  type Requirement,
  type WatchedWrite,
  type WatchEvent,
} from './watch-writes.js';

export type { WatchedWrite, WatchEvent } from './watch-writes.js';

/** What one watcher saw, in its order. */
export type WatchRecord =
  /** It asked for all that comes after the timestamp; the first record of a watcher. */
  | { readonly type: 'start'; readonly after: number; readonly where: string }
  /**
   * It asked again, from a point that it had reached: behind an event that it had been told, or behind all at
   * or below a timestamp.
   */
  | {
      readonly type: 'resume';
      readonly after: number;
      readonly behind?: WatchEvent | undefined;
      readonly where: string;
    }
  | WatchEvent
  /** It was told that nothing at or below the timestamp comes any more. */
  | { readonly type: 'progress'; readonly timestamp: number; readonly where: string };

/** A transaction whose events come just now. */
interface OpenTransaction {
  readonly name: string;
  readonly timestamp: number;
  readonly told: number | undefined;
  readonly missing: Set<string>;
  readonly where: string;
}

/** One watcher, record by record. */
class WatchJudge {
  readonly violations: Violation[] = [];
  readonly #writes: WatchedWrites;
  /** Index of the first requirement that was not asked for since the watcher asked. */
  #next = 0;
  readonly #blamed = new Set<Requirement>();
  /** Since the watcher asked, and what it had at the timestamp of the event behind which it asked. */
  #delivered = new Set<string>();
  /** Since it started. */
  readonly #everTold = new Set<string>();
  /** By timestamp: what was told there last, in order. */
  readonly #toldAt = new Map<number, string[]>();
  /** Last event by key, since the watcher asked. */
  #lastOfKey = new Map<string, WatchEvent>();
  #last: WatchEvent | undefined;
  /** Transactions at the timestamp of the last event of which all was told that comes together. */
  readonly #ended = new Set<number>();
  #open: OpenTransaction | undefined;
  /** The first event of each transaction, by name. */
  readonly #firsts = new Map<string, WatchEvent>();
  #after = Number.NEGATIVE_INFINITY;
  /** What comes at that timestamp comes behind this event. */
  #behind: WatchEvent | undefined;
  #progress = Number.NEGATIVE_INFINITY;

  constructor(writes: readonly WatchedWrite[]) {
    this.#writes = new WatchedWrites(writes);
  }

  take(record: WatchRecord): void {
    switch (record.type) {
      case 'start':
        this.#begin(record.after, undefined);
        return;
      case 'resume': {
        const { after, behind, where } = record;
        const whole = behind === undefined ? after : behind.timestamp - 1;
        // It may have been there before it went on from an earlier point.
        this.#demand(whole, `the watcher went on after ${after} (${where})`, this.#everTold);
        this.#begin(after, behind);
        return;
      }
      case 'event':
        this.#event(record);
        return;
      case 'progress':
        this.#mark(record.timestamp, record.where);
    }
  }

  #add(name: string, explanation: string): void {
    this.violations.push({ name, explanation });
  }

  #begin(after: number, behind: WatchEvent | undefined): void {
    this.#behind = behind;
    this.#after = behind === undefined ? after : behind.timestamp - 1;
    this.#progress = this.#after;
    this.#last = behind;
    this.#ended.clear();
    this.#lastOfKey = new Map();
    this.#open = undefined;
    this.#delivered = new Set(behind === undefined ? [] : this.#toldUpTo(behind));
    const { requirements } = this.#writes;
    const at = requirements.findIndex(({ timestamp }) => timestamp > this.#after);
    this.#next = at < 0 ? requirements.length : at;
  }

  /** What was told at the timestamp of an event, up to that. What follows is told again. */
  #toldUpTo({ key, timestamp, value }: WatchEvent): readonly string[] {
    const told = this.#toldAt.get(timestamp) ?? [];
    const upTo = told.slice(0, told.indexOf(eventId(key, timestamp, value)) + 1);
    this.#toldAt.set(timestamp, upTo);
    return upTo;
  }

  /** Everything up to the timestamp must have been told. */
  #demand(timestamp: number, because: string, told: ReadonlySet<string> = this.#delivered): void {
    const { requirements } = this.#writes;
    for (; this.#next < requirements.length; this.#next += 1) {
      const requirement = requirements[this.#next] as Requirement;
      if (requirement.timestamp > timestamp) break;
      if (this.#blamed.has(requirement)) continue;
      if (requirement.events.some((id) => told.has(id))) continue;
      this.#blamed.add(requirement);
      this.#add('gap', `${requirement.text} was not told, and ${because}`);
    }
    if (this.#open !== undefined && this.#open.timestamp <= timestamp) this.#close(because, told);
  }

  #mark(timestamp: number, where: string): void {
    if (timestamp < this.#progress) {
      this.#add('progress-went-back', `${where}: progress ${timestamp} after ${this.#progress}`);
      return;
    }
    this.#demand(timestamp, `progress reached ${timestamp} (${where})`);
    this.#progress = timestamp;
  }

  #event(event: WatchEvent): void {
    const { key, timestamp, value, where } = event;
    const text = `${where}: ${key} = ${showValue(value)} at ${timestamp}`;
    this.#checkOrigin(event, text);
    if (timestamp <= this.#after)
      this.#add('repeat', `${text}, but the watcher asked for what is after ${this.#after}`);
    else if (timestamp <= this.#progress)
      this.#add('after-progress', `${text}, after progress ${this.#progress}`);
    this.#checkOrder(event, text);
    this.#demand(timestamp - 1, `the watcher was told of ${timestamp} (${where})`);
    const id = eventId(key, timestamp, value);
    if (this.#last?.timestamp === timestamp) this.#toldAt.get(timestamp)?.push(id);
    else this.#toldAt.set(timestamp, [id]);
    this.#checkTransaction(event, text);
    const wrong = previousFault(this.#writes, event, this.#lastOfKey.get(key));
    if (wrong !== undefined) this.#add('wrong-previous', `${text}: ${wrong}`);
    this.#delivered.add(id);
    this.#everTold.add(id);
    this.#last = event;
    this.#lastOfKey.set(key, event);
  }

  #checkOrigin({ key, timestamp, value }: WatchEvent, text: string): void {
    const outcome = this.#writes.outcomeOf(key, timestamp, value);
    // Of acknowledged writes whose timestamp nobody told nothing more can be said.
    if (outcome === 'info' || outcome === 'ok') return;
    if (outcome === 'fail') this.#add('aborted-event', `${text}, which failed`);
    else this.#add('unknown-event', `${text}, which nobody wrote there`);
  }

  /** By timestamp; of one key by sequence. Of transactions at one timestamp each by itself. */
  #checkOrder(event: WatchEvent, text: string): void {
    const { key, timestamp, sequence, value, transaction } = event;
    const last = this.#last;
    if (last === undefined || timestamp > last.timestamp) {
      this.#ended.clear();
      return;
    }
    const before = `${last.key} = ${showValue(last.value)} at ${last.timestamp} (${last.where})`;
    if (timestamp < last.timestamp) {
      // What is at or below where the watcher asked was called a repeat already.
      if (timestamp > this.#after || last !== this.#behind)
        this.#add('out-of-order', `${text}, after ${before}`);
      return;
    }
    if (transaction !== last.transaction && last.transaction !== undefined) this.#ended.add(last.transaction);
    if (transaction !== undefined && this.#ended.has(transaction))
      this.#add('torn-transaction', `${text}, with others between it and the rest of ${transaction}`);
    const lastOfKey = this.#lastOfKey.get(key);
    const isKnown = sequence !== undefined && lastOfKey?.sequence !== undefined;
    if (isKnown && lastOfKey.timestamp === timestamp && sequence < lastOfKey.sequence)
      this.#add('out-of-order', `${text}, after sequence ${lastOfKey.sequence}`);
    if (this.#delivered.has(eventId(key, timestamp, value))) this.#add('repeat', `${text}, again`);
  }

  #checkTransaction(event: WatchEvent, text: string): void {
    const { key, timestamp, value, transaction } = event;
    const write = this.#writes.writeOf(key, timestamp, value);
    const id = eventId(key, timestamp, value);
    const open = this.#open;
    if (write?.transaction === undefined) {
      if (open !== undefined && open.told !== transaction) this.#close(`${text} came`);
      if (write?.isTransactional === false && transaction !== undefined)
        this.#add('wrong-transaction', `${text} is a plain write, and told as one of ${transaction}`);
      open?.missing.delete(id);
      return;
    }
    const { transaction: name } = write;
    const first = this.#firsts.get(name) ?? event;
    this.#firsts.set(name, first);
    if (first.transaction !== transaction)
      this.#add(
        'wrong-transaction',
        `${text} is told as one of ${transaction}, others as of ${first.transaction}`,
      );
    if (first.timestamp !== timestamp)
      this.#add('torn-transaction', `${text}, others of ${name} at ${first.timestamp}`);
    if (open?.name !== name) {
      if (open !== undefined) this.#close(`${text} came`);
      this.#open = this.#opened(name, event);
    }
    this.#open?.missing.delete(id);
  }

  /** What a transaction has put must be told with this. */
  #opened(name: string, { timestamp, transaction, where }: WatchEvent): OpenTransaction {
    const puts = this.#writes.writesOf(name).filter(({ value }) => value !== undefined);
    const ids = puts.map(({ key, value }) => eventId(key, timestamp, value));
    const missing = new Set(ids.filter((id) => !this.#delivered.has(id)));
    return { name, timestamp, told: transaction, missing, where };
  }

  #close(because: string, told: ReadonlySet<string> = this.#delivered): void {
    const open = this.#open;
    this.#open = undefined;
    const missing = [...(open?.missing ?? [])].find((id) => !told.has(id));
    if (open === undefined || missing === undefined) return;
    const text = `${open.name} at ${open.timestamp} (${open.where})`;
    this.#add('torn-transaction', `${missing} of ${text} was not told with it, and ${because}`);
  }
}

/**
 * Completeness and order of one watcher. `writes` are those of the keys that it watches, and only those;
 * values that are put differ from each other.
 *
 * - Every acknowledged write after the start is told before progress reaches it, before anything at a later
 *   timestamp, and before the watcher goes on from a later point. Of plain writes of a key at one timestamp,
 *   the last.
 * - Events come in order of timestamp, and once, but for what comes again after a point
 *   from which the watcher asked again. Nothing comes at or below that point.
 * - What a transaction has written comes together, at one timestamp, under one number; of one with an unknown
 *   outcome all that it has put, or nothing.
 * - Progress never falls, and nothing comes at or below it any more.
 * - Nothing is told that nobody wrote, or that failed. A write of unknown outcome may be told, or not.
 * - What an event has replaced is what was there.
 *
 * Timestamps are integers. Names: `gap`, `repeat`, `out-of-order`, `after-progress`, `progress-went-back`,
 * `unknown-event`, `aborted-event`, `torn-transaction`, `wrong-transaction`, `wrong-previous`.
 */
export function watchViolations(
  writes: readonly WatchedWrite[],
  records: readonly WatchRecord[],
): Violation[] {
  const judge = new WatchJudge(writes);
  for (const record of records) judge.take(record);
  return judge.violations;
}
