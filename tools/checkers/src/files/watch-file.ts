import type { Name } from '../transactions.js';
import type { WatchedWrite, WatchRecord } from '../workloads/watch.js';
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
  readonly prefix: string;
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
    isTransactional: fields['txn'] === true,
    where: `line ${number}`,
  };
}

function recordIn(type: WatchRecord['type'], line: JsonLine): WatchRecord {
  const where = `line ${line.number}`;
  const ts = numberIn(line.fields['ts'], 'ts', line.number);
  switch (type) {
    case 'start':
    case 'resume':
      return { type, after: ts, where };
    case 'progress':
      return { type, timestamp: ts, where };
    case 'event':
      return {
        type,
        key: keyIn(line),
        timestamp: ts,
        ...sequenceIn(line),
        value: valueText(line.fields['value']),
        where,
      };
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
      const prefix = fields['prefix'] === undefined ? '' : String(nameIn(fields['prefix'], 'prefix', number));
      watchers.set(name, { prefix, records: [recordIn(type, line)] });
    } else if (watcher === undefined) throw new BadHistory(number, `watcher ${name} has not started`);
    else watcher.records.push(recordIn(type, line));
  }
  if (watchers.size === 0) throw new BadHistory(1, 'there are no watchers');
  return [...watchers].map(([watcher, { prefix, records }]) => ({
    watcher,
    writes: writes.filter(({ key }) => key.startsWith(prefix)),
    records,
  }));
}
