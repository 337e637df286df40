export * from './types.js';
export {
  ENTRY_HEADER_BYTES,
  entryFromRecord,
  entryRecord,
  indexOfRecord,
  PAYLOAD_BYTES_MAX,
  PAYLOAD_LENGTH_AT,
  rangeIdOfRecord,
} from './record-format.js';
export type { RaftLogOptions } from './options.js';
export { openRaftLog, type OpenRaftLogOptions } from './shared-log.js';
