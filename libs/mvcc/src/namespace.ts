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
  /** Versions of user keys, newest first. */
  versions: 0x10,
  /** Reserved: locks of open transactions. */
  locks: 0x11,
  /** Reserved: commit records of transactions. */
  writes: 0x12,
} as const;
export type Namespace = (typeof Namespace)[keyof typeof Namespace];
