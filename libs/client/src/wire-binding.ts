/**
 * The only place where this package names wire formats. Everything else here works on the message types that
 * leave this file, so that a change of codec is a change of these lines.
 */
import { KVService } from '@cairn/wire/gen/cairn/v1/kv.js';
import { decodeBatchResponse, encodeBatchRequest } from '@cairn/wire/grpc-batch-client.js';

export { Consistency, KVService, Ordering } from '@cairn/wire/gen/cairn/v1/kv.js';
export type {
  BatchHello,
  BatchOperation,
  BatchRequest,
  BatchResponse,
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

/** The hot stream's path and codec. */
export const BATCH_METHOD = {
  path: KVService.batch.path,
  requestSerialize: encodeBatchRequest,
  responseDeserialize: decodeBatchResponse,
} as const;
