import { NO_BYTES, RowKind, timestamp, type Timestamp } from '@cairn/base';
import {
  decodeRecord,
  startOfRecord,
  timestampOfVersionKey,
  userKeyOfVersionKey,
  type VersionRow,
} from '@cairn/mvcc';
import { changeBytesOf, CHANGES_COUNT_MAX, type Change, type PreviousVersion } from '@cairn/wire';

/** The change that a version is. */
export function changeOf([key, record]: VersionRow, previous: VersionRow | undefined): Change {
  const version = decodeRecord(timestampOfVersionKey(key), record);
  return {
    key: userKeyOfVersionKey(key),
    timestamp: version.timestamp,
    sequence: version.sequence,
    start: startOfRecord(record),
    kind: version.kind,
    type: version.tombstone ? 'delete' : 'put',
    // What is in a row of another kind only that kind's own code can read.
    value: version.kind === RowKind.bytes ? version.value : NO_BYTES,
    expiresAt: version.expiry,
    previous: previous === undefined ? undefined : previousOf(previous),
  };
}

function previousOf([key, record]: VersionRow): PreviousVersion | undefined {
  const version = decodeRecord(timestampOfVersionKey(key), record);
  if (version.tombstone || version.kind !== RowKind.bytes) return undefined;
  return { value: version.value, timestamp: version.timestamp, expiresAt: version.expiry };
}

/** The changes of one answer, as many as fit; of one that is too long alone that one. */
export class ChangePage {
  readonly changes: Change[] = [];
  readonly #bytesMax: number;
  #bytes = 0;
  #least = Infinity;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get isEmpty(): boolean {
    return this.changes.length === 0;
  }

  /** Of the oldest change; 0 = there is none. */
  get least(): Timestamp {
    return timestamp(this.#least === Infinity ? 0 : this.#least);
  }

  /** Adds the change if there is room for it. */
  add(change: Change): boolean {
    const bytes = changeBytesOf(change);
    if (!this.#hasRoomFor(1, bytes)) return false;
    this.#add(change, bytes);
    return true;
  }

  /** Adds all of them or none. */
  addAll(changes: readonly Change[]): boolean {
    const sizes = changes.map(changeBytesOf);
    const sum = sizes.reduce((all, bytes) => all + bytes, 0);
    if (!this.#hasRoomFor(changes.length, sum)) return false;
    for (const [at, change] of changes.entries()) this.#add(change, sizes[at] as number);
    return true;
  }

  #hasRoomFor(count: number, bytes: number): boolean {
    const after = this.changes.length + count;
    if (after > CHANGES_COUNT_MAX) return false;
    return this.#bytes + bytes <= this.#bytesMax || after === 1;
  }

  #add(change: Change, bytes: number): void {
    this.changes.push(change);
    this.#bytes += bytes;
    this.#least = Math.min(this.#least, change.timestamp);
  }
}
