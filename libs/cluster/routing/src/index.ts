export { AnswersUnderWay, type AnswerRoom } from './answers-under-way.js';
export { BACKOFF, backoffMs, type BackoffRule } from './backoff.js';
export { compareKeys, prefixEnd } from './keys.js';
export {
  checkBound,
  checkKey,
  checkStart,
  checkValue,
  DEFAULT_KEY_VALUE_LIMITS,
  RESERVED_KEYS_START,
  WIDEST_KEY_VALUE_LIMITS,
  invalidField,
  type KeyValueLimits,
} from './limits.js';
export { LOCKED_TOO_LONG, type HeldOperation, type LockBreaker } from './lock-breaker.js';
export type {
  MetadataGateway,
  RouteInfo,
  RoutesAnswer,
  RoutesQuery,
  StoreAddress,
} from './metadata-gateway.js';
export {
  hasIdentity,
  isWrite,
  RoutedOperation,
  type OperationSink,
  type OperationState,
} from './operation.js';
export { RangeCache, RouteEntry } from './range-cache.js';
export type { Reach } from './reach.js';
export { RequestRouter, type RequestRouterOptions } from './request-router.js';
export type { RouterBounds } from './router-bounds.js';
export { sessionStoreConnector, type SessionStoreConnectorOptions } from './session-store-connector.js';
export { deleteSpan, perform, scanPages, type ScanSpan, type SpanTimes } from './spans.js';
export type { StoreConnector, StoreLink, StoreLinkHandlers } from './store-link.js';
