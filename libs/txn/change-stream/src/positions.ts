import { NO_BYTES, timestamp, type Timestamp } from '@cairn/base';
import { compareKeys } from '@cairn/routing';

/**
 * A place in the one order of all changes: by commit timestamp, then by sequence, then by the start of the
 * transaction (0 = a plain write), then by key. Leaders write a key at one timestamp in the order of
 * sequences, so of one key it is the order in which it was written; all that a transaction has written
 * has one sequence, so it stands together.
 */
export interface Position {
  readonly timestamp: Timestamp;
  readonly start: number;
  readonly sequence: number;
  readonly key: Uint8Array;
}

export function comparePositions(one: Position, other: Position): number {
  return (
    one.timestamp - other.timestamp ||
    one.sequence - other.sequence ||
    one.start - other.start ||
    compareKeys(one.key, other.key)
  );
}

/** Behind all changes at or below a timestamp. */
export function endOf(at: number): Position {
  return {
    timestamp: timestamp(at),
    start: Number.MAX_SAFE_INTEGER,
    sequence: Number.MAX_SAFE_INTEGER,
    key: NO_BYTES,
  };
}

/** Whether it is behind all changes of its timestamp. */
export function isEndOf(position: Position): boolean {
  return position.start === Number.MAX_SAFE_INTEGER;
}

/** The largest timestamp of which all changes are at or before the position. */
export function wholeTimestampOf(position: Position): Timestamp {
  return isEndOf(position) ? position.timestamp : timestamp(Math.max(0, position.timestamp - 1));
}

/** Sorts, and keeps one of those that stand at one place. */
export function inOrder<Item extends Position>(items: Item[]): Item[] {
  items.sort(comparePositions);
  let last: Item | undefined;
  return items.filter((item) => {
    const isRepeat = last !== undefined && comparePositions(last, item) === 0;
    last = item;
    return !isRepeat;
  });
}
