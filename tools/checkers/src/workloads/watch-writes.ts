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
  /** Writes that name the same transaction are told together, or none of them is. */
  readonly transaction?: string;
  /** Tells people where it is in the history. */
  readonly where: string;
}

/** A change as a watcher was told of it. */
export interface WatchEvent {
  readonly type: 'event';
  readonly key: string;
  readonly timestamp: number;
  readonly sequence?: number;
  readonly value: string | undefined;
  /** As the stream names it; undefined = a plain write. */
  readonly transaction?: number;
  /** What it has replaced; left out where the watcher did not ask. */
  readonly previous?: { readonly value: string; readonly timestamp: number } | 'nothing';
  readonly where: string;
}

export type AcknowledgedWrite = WatchedWrite & { readonly outcome: 'ok'; readonly timestamp: number };

/** What has to be told: one of several events is enough. */
export interface Requirement {
  readonly timestamp: number;
  readonly events: readonly string[];
  readonly text: string;
}

export function showValue(value: string | undefined): string {
  return value ?? 'nothing';
}

export function eventId(key: string, timestamp: number | undefined, value: string | undefined): string {
  return JSON.stringify([key, timestamp ?? null, value ?? null]);
}

function writeText({ key, value, timestamp, where }: WatchedWrite): string {
  return `${key} = ${showValue(value)} at ${timestamp} (${where})`;
}

function isAcknowledged(write: WatchedWrite): write is AcknowledgedWrite {
  return write.outcome === 'ok' && write.timestamp !== undefined;
}

/** Of plain writes of one key at one timestamp: those that may have been the last. */
function lastOf<T extends WatchedWrite>(plain: readonly T[]): readonly T[] {
  const highest = Math.max(...plain.map(({ sequence }) => sequence ?? Number.POSITIVE_INFINITY));
  return plain.filter(({ sequence }) => (sequence ?? Number.POSITIVE_INFINITY) === highest);
}

function requirementsOf(writes: readonly AcknowledgedWrite[]): Requirement[] {
  const requirements: Requirement[] = [];
  const groups = new Map<string, AcknowledgedWrite[]>();
  const require = (alternatives: readonly AcknowledgedWrite[]): void => {
    const [first] = alternatives;
    if (first === undefined) return;
    const events = alternatives.map(({ key, timestamp, value }) => eventId(key, timestamp, value));
    const text = alternatives.map(writeText).join(' or ');
    requirements.push({ timestamp: first.timestamp, events, text });
  };
  for (const write of writes) {
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

/** All writes of the keys of a watcher, in the ways in which they are looked for. */
export class WatchedWrites {
  /** In order of timestamp. */
  readonly requirements: readonly Requirement[];
  readonly #outcomes = new Map<string, WatchedWrite['outcome']>();
  /** Those that may have made an event; of one value the first. */
  readonly #byEvent = new Map<string, WatchedWrite>();
  readonly #byTransaction = new Map<string, WatchedWrite[]>();
  /** In order of timestamp. */
  readonly #acknowledged = new Map<string, AcknowledgedWrite[]>();

  constructor(writes: readonly WatchedWrite[]) {
    const acknowledged = writes.filter(isAcknowledged).sort((a, b) => a.timestamp - b.timestamp);
    this.requirements = requirementsOf(acknowledged);
    for (const write of acknowledged) append(this.#acknowledged, write.key, write);
    for (const write of writes) {
      const id = eventId(write.key, write.outcome === 'ok' ? write.timestamp : undefined, write.value);
      // One value may have been tried twice.
      if (this.#outcomes.get(id) !== 'info') this.#outcomes.set(id, write.outcome);
      if (write.outcome !== 'fail' && !this.#byEvent.has(id)) this.#byEvent.set(id, write);
      if (write.transaction !== undefined && write.outcome !== 'fail')
        append(this.#byTransaction, write.transaction, write);
    }
  }

  /** How it ended, if somebody wrote that there, or wrote it and was not told where. */
  outcomeOf(key: string, timestamp: number, value: string | undefined): WatchedWrite['outcome'] | undefined {
    const there = this.#outcomes.get(eventId(key, timestamp, value));
    return there ?? this.#outcomes.get(eventId(key, undefined, value));
  }

  /**
   * The write that made the event. undefined for deletions of which nobody knows where they committed: of
   * those it might be any.
   */
  writeOf(key: string, timestamp: number, value: string | undefined): WatchedWrite | undefined {
    const there = this.#byEvent.get(eventId(key, timestamp, value));
    if (there !== undefined || value === undefined) return there;
    return this.#byEvent.get(eventId(key, undefined, value));
  }

  writesOf(transaction: string): readonly WatchedWrite[] {
    return this.#byTransaction.get(transaction) ?? [];
  }

  /** Of one key, in order of timestamp. */
  acknowledgedOf(key: string): readonly AcknowledgedWrite[] {
    return this.#acknowledged.get(key) ?? [];
  }

  /** Somebody may have deleted the key, and nobody knows when. */
  mayBeDeleted(key: string): boolean {
    return this.#byEvent.has(eventId(key, undefined, undefined));
  }
}

function append<Value>(lists: Map<string, Value[]>, name: string, value: Value): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [value]);
  else list.push(value);
}
