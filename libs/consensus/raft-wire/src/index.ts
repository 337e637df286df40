export {
  decodeRaftMessages,
  RaftMessageEncoder,
  type EntryFormat,
  type RaftRangeHint,
} from './raft-codec.js';
export {
  cutStoreHeartbeat,
  decodeStoreHeartbeat,
  encodeStoreHeartbeat,
  type CommitNotice,
  type LedRange,
  type StoreHeartbeat,
  type SupportAnswer,
  type SupportRequest,
} from './store-heartbeat-codec.js';
