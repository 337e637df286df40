/**
 * First byte of every engine key: what kind of row it is. Append only; a number is never given a second
 * meaning, because old data directories still hold the first.
 */
export const Namespace = {
  /**
   * State of this store alone: format version, replica descriptors, applied indexes. Never replicated,
   * never snapshotted.
   */
  storeLocal: 0x01,
  /** Rows of the metadata service. */
  metadata: 0x02,
  /** Versions of user keys, newest first. A row here is what makes a key exist. */
  versions: 0x10,
  /** Locks of open transactions. */
  locks: 0x11,
  /** What became of transactions: records of commits, marks of what was rolled back. */
  transactions: 0x12,
  /** Rows of collections too large for the row of their key. */
  members: 0x13,
} as const;
export type Namespace = (typeof Namespace)[keyof typeof Namespace];

/**
 * The namespaces that a range has rows in. Their keys go on with the escaped user key and its terminator, so
 * that one interval of user keys is one span of each, and all rows of a key are in one range.
 */
export const ROW_NAMESPACES = [
  Namespace.versions,
  Namespace.locks,
  Namespace.transactions,
  Namespace.members,
] as const;
export type RowNamespace = (typeof ROW_NAMESPACES)[number];

/** Whether an engine key is of a range's rows. */
export function isRowKey(engineKey: Uint8Array): boolean {
  const first = engineKey[0] ?? 0;
  return first >= Namespace.versions && first <= Namespace.members;
}
