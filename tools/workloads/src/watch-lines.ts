import type { WatchedWrite, WatchEvent, WatchRecord } from '@cairn/checkers';

import type { WatcherHistory } from './watch-seat.js';

/** As `npm run check -- watch` reads it: each watcher with the writes of its keys. */
export function watchLines(writes: readonly WatchedWrite[], histories: readonly WatcherHistory[]): string[] {
  return [...writes.map(writeLine), ...histories.flatMap(watcherLines)];
}

function writeLine(write: WatchedWrite): string {
  const { key, value, timestamp, outcome, transaction, isTransactional, where } = write;
  const txn = transaction ?? isTransactional;
  // Of what was acknowledged without a timestamp no more is known than of what is unknown.
  const known = timestamp === undefined && outcome === 'ok' ? 'info' : outcome;
  return JSON.stringify({ type: 'write', key, value, ts: timestamp, outcome: known, txn, where });
}

function watcherLines({ name, span, records }: WatcherHistory): string[] {
  return records.map((record) => JSON.stringify({ watcher: name, ...fieldsOf(record, span) }));
}

function fieldsOf(record: WatchRecord, span: WatcherHistory['span']): object {
  const { type, where } = record;
  switch (record.type) {
    case 'start':
      return { type, ts: record.after, ...span, where };
    case 'progress':
      return { type, ts: record.timestamp, where };
    case 'resume':
      return { type, ts: record.after, key: record.behind?.key, value: record.behind?.value, where };
    case 'event':
      return { ...eventFields(record), where };
  }
}

function eventFields({ type, key, value, timestamp, transaction, previous }: WatchEvent): object {
  if (previous === undefined) return { type, key, value, ts: timestamp, txn: transaction };
  const replaced =
    previous === 'nothing'
      ? { previousTs: null }
      : { previous: previous.value, previousTs: previous.timestamp };
  return { type, key, value, ts: timestamp, txn: transaction, ...replaced };
}
