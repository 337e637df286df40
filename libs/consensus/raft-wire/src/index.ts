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
  type VouchAnswer,
  type VouchAsk,
} from './store-heartbeat-codec.js';
