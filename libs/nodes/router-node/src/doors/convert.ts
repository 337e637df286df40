import { CairnError, messageOf, rethrowInvariant, timestamp, type Timestamp, NO_BYTES } from '@cairn/base';
import {
  checkKey,
  checkValue,
  invalidField,
  WIDEST_KEY_VALUE_LIMITS,
  type KeyValueLimits,
} from '@cairn/routing';
import {
  Expectation,
  KvOp,
  newKvRequest,
  ReadConsistency,
  type KvRequest,
  type KvResponse,
} from '@cairn/wire';
import {
  Consistency,
  Ordering,
  type CompareAndSetRequest,
  type CompareAndSetResponse,
  type DeleteRequest,
  type DeleteResponse,
  type GetRequest,
  type ExpireRequest,
  type GetResponse,
  type IncrementRequest,
  type IncrementResponse,
  type PutRequest,
  type PutResponse,
  type RequestId,
} from '@cairn/wire/gen/cairn/v1/kv.js';

const REQUEST_NUMBER_MAX = 2 ** 48 - 1;
/** Ten years: longer is a mistake, and would leave the range of timestamps. */
const TTL_MS_MAX = 10 * 365 * 24 * 3_600_000;
/** Of a version token. */
export const VERSION_BYTES = 12;

/** Throws INVALID_ARGUMENT that names the field, as do all of these. */
export function assertKey(key: Uint8Array, limits: KeyValueLimits, field = 'key'): void {
  const problem = checkKey(key, limits, field);
  if (problem !== undefined) throw problem;
}

/** A value within the limits. */
export function assertValue(value: Uint8Array, limits: KeyValueLimits, field = 'value'): void {
  const problem = checkValue(value, limits, field);
  if (problem !== undefined) throw problem;
}

/** Throws INVALID_ARGUMENT naming the field, like every conversion here. */
export function readConsistencyOf(consistency: Consistency, at: number): ReadConsistency {
  switch (consistency) {
    case Consistency.UNSPECIFIED:
      return at === 0 ? ReadConsistency.linearizable : ReadConsistency.timestamp;
    case Consistency.LINEARIZABLE:
      if (at !== 0) throw contradiction('CONSISTENCY_LINEARIZABLE');
      return ReadConsistency.linearizable;
    case Consistency.STALE:
      if (at !== 0) throw contradiction('CONSISTENCY_STALE');
      return ReadConsistency.stale;
    case Consistency.TIMESTAMP:
      if (at === 0) throw invalidField('timestamp', 'timestamp must be given with CONSISTENCY_TIMESTAMP');
      return ReadConsistency.timestamp;
    default:
      throw invalidField('consistency', `consistency ${String(consistency)} is not known`);
  }
}

function contradiction(consistency: string): CairnError {
  return invalidField('timestamp', `timestamp cannot be given together with ${consistency}`);
}

export const readTimestampOf = (at: number): Timestamp => timestamp(at);

export function getRequest(message: GetRequest): KvRequest {
  assertKey(message.key, WIDEST_KEY_VALUE_LIMITS);
  const request = newKvRequest();
  request.op = KvOp.get;
  request.key = message.key;
  request.consistency = readConsistencyOf(message.consistency, message.timestamp);
  request.readTimestamp = timestamp(message.timestamp);
  return request;
}

export function putRequest(message: PutRequest, limits: KeyValueLimits): KvRequest {
  assertKey(message.key, limits);
  assertValue(message.value, limits);
  const request = writeRequest(KvOp.put, message.key, message.ordering, message.requestId);
  request.value = message.value;
  request.ttlMs = ttlOf(message.ttlMs);
  return request;
}

export function deleteRequest(message: DeleteRequest): KvRequest {
  assertKey(message.key, WIDEST_KEY_VALUE_LIMITS);
  return writeRequest(KvOp.delete, message.key, message.ordering, message.requestId);
}

export function compareAndSetRequest(message: CompareAndSetRequest, limits: KeyValueLimits): KvRequest {
  assertKey(message.key, limits);
  const request = writeRequest(KvOp.compareAndSet, message.key, message.ordering, message.requestId);
  if (message.value !== undefined) {
    assertValue(message.value, limits);
    request.value = message.value;
  }
  request.ttlMs = ttlOf(message.ttlMs);
  const { expected } = message;
  if (expected === undefined)
    throw invalidField('expected', 'expected must be one of absent, expected_value, expected_version');
  switch (expected.$case) {
    case 'absent':
      if (!expected.value) throw invalidField('absent', 'absent must be true where it is given');
      request.expectation = Expectation.absent;
      break;
    case 'expectedValue':
      assertValue(expected.value, WIDEST_KEY_VALUE_LIMITS, 'expected_value');
      request.expectation = Expectation.value;
      request.expected = expected.value;
      break;
    case 'expectedVersion':
      if (expected.value.length !== VERSION_BYTES) {
        throw invalidField(
          'expected_version',
          `expected_version is not a version: ${VERSION_BYTES} bytes are wanted`,
        );
      }
      request.expectation = Expectation.version;
      request.expected = expected.value;
  }
  return request;
}

/** A key that is longer than keys may be now can still get another time to live. */
export function expireRequest(message: ExpireRequest): KvRequest {
  assertKey(message.key, WIDEST_KEY_VALUE_LIMITS);
  const request = writeRequest(KvOp.expire, message.key, message.ordering, message.requestId);
  request.ttlMs = ttlOf(message.ttlMs);
  return request;
}

export function incrementRequest(message: IncrementRequest, limits: KeyValueLimits): KvRequest {
  assertKey(message.key, limits);
  const request = writeRequest(KvOp.increment, message.key, message.ordering, message.requestId);
  request.delta = message.delta;
  return request;
}

function writeRequest(op: KvOp, key: Uint8Array, ordering: Ordering, id: RequestId | undefined): KvRequest {
  const request = newKvRequest();
  request.op = op;
  request.key = key;
  request.strict = isStrict(ordering);
  if (id !== undefined) {
    const isNumber = (value: number): boolean => value >= 1 && value <= REQUEST_NUMBER_MAX;
    if (!isNumber(id.client))
      throw invalidField('request_id.client', 'request_id.client must be 1 to 2^48 - 1');
    if (!isNumber(id.sequence))
      throw invalidField('request_id.sequence', 'request_id.sequence must be 1 to 2^48 - 1');
    request.requestId = {
      client: id.client,
      sequence: id.sequence,
      stamp: timestamp(id.stamp),
      isRetry: id.retry,
    };
  }
  return request;
}

function isStrict(ordering: Ordering): boolean {
  switch (ordering) {
    case Ordering.UNSPECIFIED:
    case Ordering.PLAIN:
      return false;
    case Ordering.STRICT:
      return true;
    default:
      throw invalidField('ordering', `ordering ${String(ordering)} is not known`);
  }
}

/** A time to live of a write, in bounds. */
export function ttlOf(ttlMs: number): number {
  if (ttlMs > TTL_MS_MAX)
    throw invalidField('ttl_ms', `ttl_ms is ${ttlMs}; the limit is ${TTL_MS_MAX} (ten years)`);
  return ttlMs;
}

export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function getResponse(response: KvResponse): GetResponse {
  return {
    found: response.found,
    value: response.value === undefined ? NO_BYTES : asBuffer(response.value),
    version: asBuffer(response.version),
    expiresUnixMs: response.expiresUnixMs,
  };
}

export function putResponse(response: KvResponse): PutResponse {
  return { version: asBuffer(response.version), timestamp: response.timestamp };
}

export function deleteResponse(response: KvResponse): DeleteResponse {
  return { existed: response.found, version: asBuffer(response.version), timestamp: response.timestamp };
}

export function compareAndSetResponse(response: KvResponse): CompareAndSetResponse {
  return {
    succeeded: response.succeeded,
    version: asBuffer(response.version),
    timestamp: response.timestamp,
    found: response.found,
    value: response.value === undefined ? NO_BYTES : asBuffer(response.value),
    valueOmitted: false,
    kind: response.kind,
  };
}

export function incrementResponse(response: KvResponse): IncrementResponse {
  return { value: response.number, version: asBuffer(response.version), timestamp: response.timestamp };
}

/** The error of a thrown value, for answers inside a message. */
export function asCairnError(error: unknown): CairnError {
  rethrowInvariant(error);
  return CairnError.is(error) ? error : new CairnError('INTERNAL', messageOf(error));
}
