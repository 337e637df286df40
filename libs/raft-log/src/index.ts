export * from './types.js';
export {
  ENTRY_HEADER_BYTES,
  entryFromRecord,
  entryHeader,
  indexOfHeader,
  PAYLOAD_BYTES_MAX,
  payloadLengthOf,
  rangeIdOfHeader,
} from './record-format.js';
export type { RaftLogOptions } from './options.js';
export { openRaftLog, type OpenRaftLogOptions } from './shared-log.js';
