import { ENTRY_HEADER_BYTES, entryFromRecord, entryRecord, PAYLOAD_LENGTH_AT } from '@cairn/raft-log';
import type { EntryFormat } from '@cairn/wire';

/** Entries travel between stores as the records of the log. */
export const ENTRY_FORMAT: EntryFormat = {
  headerBytes: ENTRY_HEADER_BYTES,
  record: entryRecord,
  payloadLengthAt: PAYLOAD_LENGTH_AT,
  entry: entryFromRecord,
};
