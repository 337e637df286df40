import { ENTRY_HEADER_BYTES, entryFromRecord, entryHeader, payloadLengthOf } from '@cairn/raft-log';
import type { EntryFormat } from '@cairn/wire';

/** Entries travel between stores as the records of the log. */
export const ENTRY_FORMAT: EntryFormat = {
  headerBytes: ENTRY_HEADER_BYTES,
  header: entryHeader,
  payloadLength: payloadLengthOf,
  entry: entryFromRecord,
};
