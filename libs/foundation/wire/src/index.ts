export { buildFromMessage, buildToMessage, THIS_BUILD, type BuildVersions } from './build-versions.js';
export { comparesBytes, conditionHolds } from './conditions.js';
export {
  changeBytesOf,
  decodeChangesReply,
  decodeChangesRequest,
  encodeChangesReply,
  encodeChangesRequest,
} from './changes-codec.js';
export * from './changes-messages.js';
export {
  checkedTail,
  checkMemberCount,
  RANGE_MEMBERS_MAX,
  readDescriptor,
  writeDescriptor,
} from './descriptor-codec.js';
export { decodeBatchRequest, type DecodedBatchRequest, type DecodedOperation } from './grpc-batch-request.js';
export { encodeBatchResponse } from './grpc-batch-response.js';
export {
  FRAME_CUT_BYTES,
  FRAME_CUT_MESSAGES,
  FRAME_MESSAGES_MAX,
  MESSAGE_BYTES_MAX,
  tooLong,
  tooManyMessages,
} from './frame-limits.js';
export {
  completedFailure,
  errorDetailOf,
  fromServiceError,
  grpcStatusOf,
  STATUS_DETAILS_KEY,
  toServiceError,
} from './grpc-errors.js';
export { ELEMENTS_MAX, notDecoded } from './grpc-message-bounds.js';
export {
  clusterServiceDefinition,
  isWritingCall,
  kvServiceDefinition,
  SPLIT_KEYS_MAX,
  txnServiceDefinition,
  watchServiceDefinition,
} from './grpc-service.js';
export { encodeWatchChange, type WatchMessage } from './grpc-watch.js';
export { EXECUTE_OPERATIONS_MAX, TRANSACTION_KEYS_MAX } from './grpc-shapes.js';
export { newKvRequest, newKvResponse, NO_READ_ROW } from './kv-factories.js';
export * from './kv-messages.js';
export { decodeKvCancel, decodeKvRequests, encodeKvCancel, KvRequestEncoder } from './kv-request-codec.js';
export { COPIED_VALUE_BYTES_MAX, decodeKvResponses, KvResponseEncoder } from './kv-response-codec.js';
export {
  decodeScanPage,
  encodeScanPage,
  NO_ROWS,
  PackedRowReader,
  packRows,
  RowPacker,
  unpackRows,
  type PackedRows,
  type ScanPage,
} from './packed-rows.js';
export { ReconnectingSession, type ReconnectingSessionOptions } from './reconnecting-session.js';
export {
  decodeReservation,
  encodeReservation,
  RESERVE_KEYS_MAX,
  RESERVE_TTL_MS_MAX,
  RESERVE_WAIT_MS_MAX,
  WAITS_FOR_OWNERS_MAX,
} from './reserve-codec.js';
export * from './reserve-messages.js';
export { createRpcClient, RpcPool, type RpcPoolOptions, type SessionRpcClient } from './rpc-client.js';
export {
  DEBUG_TEXT_CHARS_MAX,
  ENGINE_LEVELS_MAX,
  LOCK_OWNERS_MAX,
  LOCK_WAITS_MAX,
  ENGINE_NAME_CHARS_MAX,
  IGNORED_STARTS_MAX,
  MetadataRpc,
  REPORTED_RANGES_MAX,
  RPC_KEYS_MAX,
  ShardRpc,
} from './rpc-methods.js';
export { createRpcServer, type RpcServerOptions, type SessionRpcServer } from './rpc-server.js';
export {
  acceptLimitsFor,
  DEFAULT_ACCEPT_LIMITS,
  SessionAcceptor,
  type AcceptLimits,
  type SessionAcceptorOptions,
} from './session-acceptor.js';
export { acceptSession, openSession, type AcceptSessionOptions, type OpenSessionOptions } from './session.js';
export * from './session-types.js';
export {
  decodeExecute,
  decodeTxnRead,
  decodeTxnReply,
  decodeTxnWrite,
  encodeExecute,
  encodeTxnRead,
  encodeTxnReply,
  encodeTxnWrite,
  LOCKS_TOLD_MAX,
} from './txn-codec.js';
export { TXN_ITEMS_MAX } from './txn-fields.js';
export * from './txn-messages.js';
