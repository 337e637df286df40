export type {
  BatchCall,
  CallFailure,
  CutOff,
  DoorCall,
  PageCall,
  ScanCall,
  StreamCall,
  UnaryCallback,
  UnaryDoor,
  WatchCall,
} from './calls.js';
export { ClusterAdmin, type ClusterAdminParts } from './cluster-admin.js';
export { clusterHandlers, type ClusterHandlers } from './doors/cluster-service.js';
export { DoorContext, type DoorContextParts } from './doors/door-context.js';
export { FairGate } from './doors/fair-gate.js';
export { createKvService, type KvDoors, type KvHandlers } from './doors/kv-service.js';
export type { TransactionParts } from './doors/transaction-gate.js';
export { createTxnService, type TxnHandlers } from './doors/txn-service.js';
export { createWatchService, type WatchHandlers, type WatchParts } from './doors/watch-service.js';
export { openRouter, type RouterContext, type RouterPorts, type RunningRouter } from './open-router.js';
