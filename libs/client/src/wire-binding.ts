/**
 * The only place where this package names wire formats. Everything else here works on the message types that
 * leave this file, so that a change of codec is a change of these lines.
 */
export { BatchRequest, BatchResponse, Consistency, KVService, Ordering } from '@cairn/wire/gen/cairn/v1/kv.js';
export type {
  BatchHello,
  BatchOperation,
  BatchResult,
  CompareAndSetRequest,
  RequestId,
  Row,
  ScanRequest,
  ScanResponse,
} from '@cairn/wire/gen/cairn/v1/kv.js';
export { ClusterService, NodeKind } from '@cairn/wire/gen/cairn/v1/cluster.js';
export type {
  ListNodesResponse,
  ListRangesResponse,
  ListSettingsResponse,
  Node,
  RangeInfo,
  ReplicaInfo,
  Setting,
  SplitRangesResponse,
  StatusResponse,
} from '@cairn/wire/gen/cairn/v1/cluster.js';
export { ErrorDetail, RetryClass as WireRetryClass } from '@cairn/wire/gen/cairn/v1/errors.js';
