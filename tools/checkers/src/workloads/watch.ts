import type { Violation } from '../violation.js';

/** A write that the watcher may have to be told of. */
export interface WatchedWrite {
  readonly key: string;
  readonly outcome: 'ok' | 'fail' | 'info';
  /** undefined = a deletion. */
  readonly value: string | undefined;
  /** Where it committed; one that is `ok` without a timestamp may be left out. */
  readonly timestamp: number | undefined;
  /** Its place among the writes of one key at one timestamp, where that is known. */
  readonly sequence?: number;
  /** Of plain writes of a key at one timestamp, all but the last may be left out; of transactions none. */
  readonly isTransactional: boolean;
  /** Tells people where it is in the history. */
  readonly where: string;
}

/** What one watcher saw, in its order. */
export type WatchRecord =
  /** It asked for all that comes after the timestamp; the first record of a watcher. */
  | { readonly type: 'start'; readonly after: number; readonly where: string }
  /** It asked again, from a point that it had reached. */
  | { readonly type: 'resume'; readonly after: number; readonly where: string }
  | {
      readonly type: 'event';
      readonly key: string;
      readonly timestamp: number;
      readonly sequence?: number;
      readonly value: string | undefined;
      readonly where: string;
    }
  /** It was told that nothing at or below the timestamp comes any more. */
  | { readonly type: 'progress'; readonly timestamp: number; readonly where: string };

type WatchEvent = Extract<WatchRecord, { type: 'event' }>;

/** What has to be told: one of several events is enough. */
interface Requirement {
  readonly key: string;
  readonly timestamp: number;
  readonly events: readonly string[];
  readonly text: string;
}

function show(value: string | undefined): string {
  return value ?? 'nothing';
}

function idOf(key: string, timestamp: number | undefined, value: string | undefined): string {
  return JSON.stringify([key, timestamp ?? null, value ?? null]);
}

function writeText({ key, value, timestamp, where }: WatchedWrite): string {
  return `${key} = ${show(value)} at ${timestamp} (${where})`;
}

function isAcknowledged(write: WatchedWrite): write is WatchedWrite & { readonly timestamp: number } {
  return write.outcome === 'ok' && write.timestamp !== undefined;
}

/** Of plain writes of one key at one timestamp: those that may have been the last. */
function lastOf<T extends WatchedWrite>(plain: readonly T[]): readonly T[] {
  const highest = Math.max(...plain.map(({ sequence }) => sequence ?? Number.POSITIVE_INFINITY));
  return plain.filter(({ sequence }) => (sequence ?? Number.POSITIVE_INFINITY) === highest);
}

function requirementsOf(writes: readonly WatchedWrite[]): Requirement[] {
  const requirements: Requirement[] = [];
  const groups = new Map<string, (WatchedWrite & { readonly timestamp: number })[]>();
  const require = (alternatives: readonly (WatchedWrite & { readonly timestamp: number })[]): void => {
    const [first] = alternatives;
    if (first === undefined) return;
    const events = alternatives.map(({ key, timestamp, value }) => idOf(key, timestamp, value));
    const text = alternatives.map(writeText).join(' or ');
    requirements.push({ key: first.key, timestamp: first.timestamp, events, text });
  };
  for (const write of writes) {
    if (!isAcknowledged(write)) continue;
    if (write.isTransactional) {
      require([write]);
      continue;
    }
    const group = JSON.stringify([write.key, write.timestamp]);
    const others = groups.get(group);
    if (others === undefined) groups.set(group, [write]);
    else others.push(write);
  }
  for (const plain of groups.values()) require(lastOf(plain));
  return requirements.sort((a, b) => a.timestamp - b.timestamp);
}

/** Requirements in order of timestamp, each asked for once. */
class Pending {
  readonly #all: Requirement[] = [];
  #next = 0;

  add(requirement: Requirement): void {
    this.#all.push(requirement);
  }

  *upTo(timestamp: number): Generator<Requirement> {
    for (; (this.#all[this.#next]?.timestamp ?? Number.POSITIVE_INFINITY) <= timestamp; this.#next += 1) {
      yield this.#all[this.#next] as Requirement;
    }
  }
}

/** One watcher, record by record. */
class WatchJudge {
  readonly violations: Violation[] = [];
  readonly #all = new Pending();
  readonly #byKey = new Map<string, Pending>();
  readonly #told = new Set<Requirement>();
  readonly #outcomes = new Map<string, WatchedWrite['outcome']>();
  readonly #delivered = new Set<string>();
  /** Last event by key, since the watcher asked. */
  #last = new Map<string, WatchEvent>();
  #after = Number.NEGATIVE_INFINITY;
  #progress = Number.NEGATIVE_INFINITY;

  constructor(writes: readonly WatchedWrite[]) {
    for (const requirement of requirementsOf(writes)) {
      this.#all.add(requirement);
      let pending = this.#byKey.get(requirement.key);
      if (pending === undefined) {
        pending = new Pending();
        this.#byKey.set(requirement.key, pending);
      }
      pending.add(requirement);
    }
    for (const write of writes) {
      const id = idOf(write.key, write.outcome === 'ok' ? write.timestamp : undefined, write.value);
      // One value may have been tried twice.
      if (this.#outcomes.get(id) !== 'info') this.#outcomes.set(id, write.outcome);
    }
  }

  take(record: WatchRecord): void {
    switch (record.type) {
      case 'start':
        this.#begin(record.after);
        for (const requirement of this.#all.upTo(record.after)) this.#told.add(requirement);
        return;
      case 'resume':
        this.#demand(this.#all, record.after, `the watcher went on after ${record.after} (${record.where})`);
        this.#begin(record.after);
        return;
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

  #begin(after: number): void {
    this.#after = after;
    this.#progress = after;
    this.#last = new Map();
  }

  /** Everything up to the timestamp must have been told. */
  #demand(pending: Pending | undefined, timestamp: number, because: string): void {
    for (const requirement of pending?.upTo(timestamp) ?? []) {
      if (this.#told.has(requirement)) continue;
      if (requirement.events.some((id) => this.#delivered.has(id))) continue;
      this.#told.add(requirement);
      this.#add('gap', `${requirement.text} was not told, and ${because}`);
    }
  }

  #mark(timestamp: number, where: string): void {
    if (timestamp < this.#progress) {
      this.#add('progress-went-back', `${where}: progress ${timestamp} after ${this.#progress}`);
      return;
    }
    this.#demand(this.#all, timestamp, `progress reached ${timestamp} (${where})`);
    this.#progress = timestamp;
  }

  #event(event: WatchEvent): void {
    const { key, timestamp, value, where } = event;
    const text = `${where}: ${key} = ${show(value)} at ${timestamp}`;
    this.#checkOrigin(event, text);
    if (timestamp <= this.#after)
      this.#add('repeat', `${text}, but the watcher asked for what is after ${this.#after}`);
    else if (timestamp <= this.#progress)
      this.#add('after-progress', `${text}, after progress ${this.#progress}`);
    this.#checkOrder(event, text);
    this.#demand(this.#byKey.get(key), timestamp - 1, `${key} went on at ${timestamp} (${where})`);
    this.#delivered.add(idOf(key, timestamp, value));
    this.#last.set(key, event);
  }

  #checkOrigin({ key, timestamp, value }: WatchEvent, text: string): void {
    if (this.#outcomes.get(idOf(key, timestamp, value)) === 'ok') return;
    const outcome = this.#outcomes.get(idOf(key, undefined, value));
    // Of acknowledged writes whose timestamp nobody told nothing more can be said.
    if (outcome === 'info' || outcome === 'ok') return;
    if (outcome === 'fail') this.#add('aborted-event', `${text}, which failed`);
    else this.#add('unknown-event', `${text}, which nobody wrote there`);
  }

  #checkOrder({ key, timestamp, sequence, value }: WatchEvent, text: string): void {
    const last = this.#last.get(key);
    if (last === undefined || timestamp > last.timestamp) return;
    const before = `${show(last.value)} at ${last.timestamp} (${last.where})`;
    if (timestamp < last.timestamp) {
      this.#add('out-of-order', `${text}, after ${before}`);
      return;
    }
    const isKnown = sequence !== undefined && last.sequence !== undefined;
    if (isKnown && sequence < last.sequence) this.#add('out-of-order', `${text}, after ${before}`);
    if (isKnown ? sequence === last.sequence : value === last.value)
      this.#add('repeat', `${text}, after ${before}`);
  }
}

/**
 * Completeness and order of one watcher. `writes` are those of the keys that it watches, and only those.
 *
 * - Every acknowledged write after the start is told before progress reaches it, before its key goes on, and
 *   before the watcher goes on from a later point. Of plain writes of a key at one timestamp, the last.
 * - Of one key, events come in order and once, but for what comes again after a point from which the watcher
 *   asked again. Nothing comes at or below that point.
 * - Progress never falls, and nothing comes at or below it any more.
 * - Nothing is told that nobody wrote, or that failed. A write of unknown outcome may be told, or not.
 *
 * Timestamps are integers. Names: `gap`, `repeat`, `out-of-order`, `after-progress`, `progress-went-back`,
 * `unknown-event`, `aborted-event`.
 */
export function watchViolations(
  writes: readonly WatchedWrite[],
  records: readonly WatchRecord[],
): Violation[] {
  const judge = new WatchJudge(writes);
  for (const record of records) judge.take(record);
  return judge.violations;
}
