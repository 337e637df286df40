export { CairnError } from '@cairn/base';
export type { ErrorCode, RetryClass } from '@cairn/base';
export { fieldOf, keyAfter, prefixEnd } from './bytes.js';
export type { AtomicReceipt } from './atomic-writes.js';
export type { BytesInput } from './bytes.js';
export { CairnClient, connect } from './client.js';
export type { ServerInfo } from './client.js';
export { Election, Leadership } from './coordination/election.js';
export type { CampaignOptions, ElectionOptions, Leader } from './coordination/election.js';
export { coordinationReasonOf } from './coordination/errors.js';
export type { CoordinationReason } from './coordination/errors.js';
export { Lock } from './coordination/lock.js';
export type { LockOptions } from './coordination/lock.js';
export { bytes, json, utf8 } from './codecs.js';
export type {
  Codec,
  TypedCompareAndSetOptions,
  TypedCompareAndSetResult,
  TypedEntry,
  TypedRow,
  TypedScanOptions,
  ViewCodecs,
} from './codecs.js';
export { Entry, Row } from './entry.js';
export type { StoredValue } from './entry.js';
export { errorFromGrpc } from './errors.js';
export type { GrpcFailure } from './errors.js';
export { Change } from './change.js';
export type { PreviousValue } from './change.js';
export type { ExecuteAnswer, ExecuteAnswers, ExecuteInput, ExecuteOutcome } from './execute.js';
export { grpcConnector } from './grpc-connector.js';
export type { GrpcConnectorOptions } from './grpc-connector.js';
export type {
  CallOptions,
  ClientOptions,
  ClientStats,
  CompareAndSetOptions,
  CompareAndSetResult,
  DeleteReceipt,
  HoldOptions,
  Holds,
  PutOptions,
  ReadConsistency,
  ReadOptions,
  ScanOptions,
  Span,
  WriteOperationInput,
  WriteOptions,
  WriteOrdering,
  WriteOutcome,
  WriteReceipt,
} from './options.js';
export type {
  BatchChannel,
  BatchChannelHandlers,
  MessageStream,
  RouterConnector,
  RouterLink,
  ScanStream,
  UnaryMethod,
  WatchStream,
} from './router-link.js';
export { isEndpoint } from './options.js';
export { Scan } from './scan.js';
export type { Page } from './scan.js';
export { Snapshot } from './snapshot.js';
export type { SnapshotScanOptions } from './snapshot.js';
export { Transaction } from './transaction.js';
export type {
  ConditionInput,
  ExecuteOperationInput,
  IsolationLevel,
  Locked,
  KeyLockOptions,
  SnapshotOptions,
  TransactionOptions,
  TransactionPutOptions,
  TransactionScanOptions,
} from './transaction-options.js';
export { TypedSnapshot, TypedTransaction } from './typed-transaction.js';
export type { TypedTransactionScanOptions } from './typed-transaction.js';
export { TypedView } from './typed-view.js';
export { TypedWatch } from './typed-watch.js';
export type { TypedChange, TypedWatchOptions } from './typed-watch.js';
export { Watch } from './watch.js';
export type { WatchOptions } from './watch-options.js';
export { NodeKind, NodeState, RangeState } from './wire-binding.js';
export type {
  Compaction,
  Engine,
  EngineLevel,
  Hold,
  Node,
  RangeInfo,
  ReplicaInfo,
  Setting,
  StatusResponse,
} from './wire-binding.js';
