/**
 * The only place where this package names wire formats. Everything else here works on the message types that
 * leave this file, so that a change of codec is a change of these lines.
 */
import { KVService } from '@cairn/wire/gen/cairn/v1/kv.js';
import { WatchService } from '@cairn/wire/gen/cairn/v1/watch.js';
import { decodeBatchResponse, encodeBatchRequest } from '@cairn/wire/grpc-batch-client.js';
import { decodeScanPage } from '@cairn/wire/packed-rows.js';

export {
  Consistency,
  Isolation,
  KVService,
  LockPolicy,
  LockStrength,
  Ordering,
} from '@cairn/wire/gen/cairn/v1/kv.js';
export type {
  BatchGetResult,
  BatchHello,
  BatchOperation,
  BatchRequest,
  BatchResponse,
  BatchResult,
  CommitRequest,
  CompareAndSetRequest,
  Condition,
  ExecuteOperation,
  ExecuteRequest,
  ExecuteResponse,
  ExecuteResult,
  ReadSpan,
  RequestId,
  ReserveRequest,
  ReserveResponse,
  ScanRequest,
  SnapshotGetRequest,
  SnapshotGetResponse,
  TransactionWrite,
} from '@cairn/wire/gen/cairn/v1/kv.js';
export { ClusterService, NodeKind, NodeState, RangeState } from '@cairn/wire/gen/cairn/v1/cluster.js';
export type {
  Compaction,
  CompactEngineRequest,
  DebugRequest,
  Engine,
  EngineLevel,
  Hold,
  ListHoldsResponse,
  ListNodesResponse,
  ListRangesResponse,
  ListSettingsResponse,
  Node,
  PutHoldRequest,
  PutSettingRequest,
  RangeInfo,
  ReplicaInfo,
  Setting,
  SplitRangesResponse,
  StatusResponse,
} from '@cairn/wire/gen/cairn/v1/cluster.js';
export { WatchResetReason } from '@cairn/wire/gen/cairn/v1/watch.js';
export type { WatchChange, WatchRequest, WatchResponse } from '@cairn/wire/gen/cairn/v1/watch.js';
export { ErrorDetail, RetryClass as WireRetryClass } from '@cairn/wire/gen/cairn/v1/errors.js';
export { RowKind as WireRowKind } from '@cairn/wire/gen/cairn/v1/kinds.js';

export { PackedRowReader, type ScanPage } from '@cairn/wire/packed-rows.js';

/** Path and codec of a scan. */
export const SCAN_METHOD = {
  path: KVService.scan.path,
  requestSerialize: KVService.scan.requestSerialize,
  responseDeserialize: decodeScanPage,
} as const;

/** Path and codec of a watch. */
export const WATCH_METHOD = WatchService.watch;

/** The hot stream's path and codec. */
export const BATCH_METHOD = {
  path: KVService.batch.path,
  requestSerialize: encodeBatchRequest,
  responseDeserialize: decodeBatchResponse,
} as const;
