import type { Name } from '../transactions.js';
import type { WatchedWrite, WatchEvent, WatchRecord } from '../workloads/watch.js';
import { BadHistory, jsonLines, nameIn, numberIn, oneOf, valueText, type JsonLine } from './json-lines.js';

const TYPES = ['write', 'start', 'resume', 'event', 'progress'] as const;
const OUTCOMES = ['ok', 'fail', 'info'] as const;

/** A watcher, with the writes that it was to be told of. */
export interface WatchedHistory {
  readonly watcher: Name;
  readonly writes: readonly WatchedWrite[];
  readonly records: readonly WatchRecord[];
}

interface Watcher {
  readonly watches: (key: string) => boolean;
  readonly records: WatchRecord[];
}

function keyIn({ fields, number }: JsonLine): string {
  return String(nameIn(fields['key'], 'key', number));
}

function sequenceIn({ fields, number }: JsonLine): { readonly sequence?: number } {
  const sequence = fields['seq'];
  return sequence === undefined ? {} : { sequence: numberIn(sequence, 'seq', number) };
}

function writeIn(line: JsonLine): WatchedWrite {
  const { fields, number } = line;
  const outcome =
    fields['outcome'] === undefined ? 'ok' : oneOf(OUTCOMES, fields['outcome'], 'outcome', number);
  const ts = fields['ts'];
  if (outcome === 'ok' || ts !== undefined) numberIn(ts, 'ts', number);
  return {
    key: keyIn(line),
    outcome,
    value: valueText(fields['value']),
    timestamp: typeof ts === 'number' ? ts : undefined,
    ...sequenceIn(line),
    ...transactionIn(line),
    where: `line ${number}`,
  };
}

function transactionIn({ fields, number }: JsonLine): Pick<WatchedWrite, 'isTransactional' | 'transaction'> {
  const name = fields['txn'];
  if (name === undefined || name === false) return { isTransactional: false };
  if (name === true) return { isTransactional: true };
  return { isTransactional: true, transaction: String(nameIn(name, 'txn', number)) };
}

/** Keys with a prefix, or from `start` and below `end`; all where nothing is named. */
function spanIn({ fields, number }: JsonLine): Watcher['watches'] {
  const named = (name: string): string | undefined =>
    fields[name] === undefined ? undefined : String(nameIn(fields[name], name, number));
  const [prefix = '', start = '', end] = [named('prefix'), named('start'), named('end')];
  return (key) => key.startsWith(prefix) && key >= start && (end === undefined || key < end);
}

function eventIn(line: JsonLine): WatchEvent {
  const { fields, number } = line;
  const transaction = fields['txn'];
  return {
    type: 'event',
    key: keyIn(line),
    timestamp: numberIn(fields['ts'], 'ts', number),
    ...sequenceIn(line),
    value: valueText(fields['value']),
    ...(transaction === undefined ? {} : { transaction: numberIn(transaction, 'txn', number) }),
    ...previousIn(line),
    where: `line ${number}`,
  };
}

function previousIn({ fields, number }: JsonLine): Pick<WatchEvent, 'previous'> {
  const timestamp = fields['previousTs'];
  if (timestamp === undefined) return {};
  if (timestamp === null) return { previous: 'nothing' };
  const value = valueText(fields['previous']);
  if (value === undefined) throw new BadHistory(number, 'previousTs without previous');
  return { previous: { value, timestamp: numberIn(timestamp, 'previousTs', number) } };
}

/** Behind the last of those events that the line names. */
function resumeIn(line: JsonLine, records: readonly WatchRecord[]): WatchRecord {
  const { fields, number } = line;
  const after = numberIn(fields['ts'], 'ts', number);
  const where = `line ${number}`;
  if (fields['key'] === undefined) return { type: 'resume', after, where };
  const [key, value] = [keyIn(line), valueText(fields['value'])];
  const behind = records.findLast(
    (record) =>
      record.type === 'event' && record.timestamp === after && record.key === key && record.value === value,
  );
  if (behind?.type !== 'event') throw new BadHistory(number, 'the watcher was not told of the event');
  return { type: 'resume', after, behind, where };
}

function recordIn(type: WatchRecord['type'], line: JsonLine, records: readonly WatchRecord[]): WatchRecord {
  const where = `line ${line.number}`;
  switch (type) {
    case 'start':
      return { type, after: numberIn(line.fields['ts'], 'ts', line.number), where };
    case 'resume':
      return resumeIn(line, records);
    case 'progress':
      return { type, timestamp: numberIn(line.fields['ts'], 'ts', line.number), where };
    case 'event':
      return eventIn(line);
  }
}

/**
 * Reads writes, and what watchers were told, one JSON object per line. Only the order of the lines of one
 * watcher counts.
 *
 * @throws BadHistory where the file breaks the format.
 */
export function parseWatches(chunks: Iterable<string>): WatchedHistory[] {
  const writes: WatchedWrite[] = [];
  const watchers = new Map<Name, Watcher>();
  for (const line of jsonLines(chunks)) {
    const { fields, number } = line;
    const type = oneOf(TYPES, fields['type'], 'type', number);
    if (type === 'write') {
      writes.push(writeIn(line));
      continue;
    }
    const name = nameIn(fields['watcher'], 'watcher', number);
    const watcher = watchers.get(name);
    if (type === 'start') {
      if (watcher !== undefined) throw new BadHistory(number, `watcher ${name} starts twice: use resume`);
      watchers.set(name, { watches: spanIn(line), records: [recordIn(type, line, [])] });
    } else if (watcher === undefined) throw new BadHistory(number, `watcher ${name} has not started`);
    else watcher.records.push(recordIn(type, line, watcher.records));
  }
  if (watchers.size === 0) throw new BadHistory(1, 'there are no watchers');
  return [...watchers].map(([watcher, { watches, records }]) => ({
    watcher,
    writes: writes.filter(({ key }) => watches(key)),
    records,
  }));
}
