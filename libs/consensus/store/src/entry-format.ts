import { CairnError } from '@cairn/base';
import {
  ENTRY_HEADER_BYTES,
  entryFromRecord,
  entryRecord,
  PAYLOAD_LENGTH_AT,
  rangeIdOfRecord,
} from '@cairn/raft-log';
import type { EntryFormat } from '@cairn/raft-wire';

/** Entries travel between stores as the records of the log. */
export const ENTRY_FORMAT: EntryFormat = {
  headerBytes: ENTRY_HEADER_BYTES,
  record: entryRecord,
  payloadLengthAt: PAYLOAD_LENGTH_AT,
  entry: (record, rangeId) => {
    const entry = entryFromRecord(record);
    if (rangeIdOfRecord(record) !== rangeId) {
      throw new CairnError('CORRUPTION', `an entry of range ${rangeIdOfRecord(record)} came for ${rangeId}`);
    }
    return entry;
  },
};
