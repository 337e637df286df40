import { KEY_BYTES_LIMIT_MAX, VALUE_BYTES_LIMIT_MAX } from '@cairn/base';
import { Expectation, KvOp, type KvRequest } from '@cairn/wire';

import { hasCommand } from './kv-call.js';

/** Longest key and value that are accepted: what the cluster's settings say, once they were heard. */
export interface SizeLimits {
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
}

/** No setting allows more, here or at a router. */
export const WIDEST_SIZE_LIMITS: SizeLimits = {
  keyBytesMax: KEY_BYTES_LIMIT_MAX,
  valueBytesMax: VALUE_BYTES_LIMIT_MAX,
};

/** Longest page that a scan may ask for, as at the router. */
const PAGE_BYTES_MAX = 4 * 1024 * 1024;
/** Most rows that a page may ask for; more are never in one. */
const ROWS_MAX = 2 ** 31;
/** Longest a request waits for its answer, whatever it says. */
export const TIMEOUT_MS_MAX = 3_600_000;
/** Ten years and some, as at the router. */
export const TTL_MS_MAX = 3_660 * 24 * 3_600_000;
/** Length of a version token. */
export const VERSION_BYTES = 12;

/** What is wrong with a request, for its caller. */
export interface RequestFault {
  readonly field: string;
  readonly message: string;
}

export function fault(field: string, message: string): RequestFault {
  return { field, message };
}

/**
 * What no router sends: whoever connects is held to the same limits as its clients. Undefined for a request
 * that may be served. Only what makes rows is held to the settings: what was stored stays readable, and can
 * be deleted, when one is lowered. The commands of transactions and the questions for
 * changes have checks of their own: `faultOfCommand`, `faultOfChanges`.
 */
export function faultOf(request: KvRequest, limits: SizeLimits): RequestFault | undefined {
  const { op, key } = request;
  const isSpan = op === KvOp.scan || op === KvOp.deleteRange;
  // A key may be longer than new ones may be by now: it can be read, deleted, and get another time to live.
  const isTxn = hasCommand(request);
  const hasBody = isTxn || op === KvOp.changes;
  const makesRows = !isSpan && !hasBody && op !== KvOp.get && op !== KvOp.delete && op !== KvOp.expire;
  const keyBytesMax = makesRows ? limits.keyBytesMax : WIDEST_SIZE_LIMITS.keyBytesMax;
  if (key.length > keyBytesMax) {
    return fault('key', `key has ${key.length} bytes; the limit is ${keyBytesMax}`);
  }
  // What a transaction validates, and what is watched, may begin with the first key there is.
  const mayBeFirst = isSpan || op === KvOp.txnRead || op === KvOp.changes;
  if (key.length === 0 && !mayBeFirst) return fault('key', 'key must not be empty');
  const { value } = request;
  if (value !== undefined && !hasBody && value.length > limits.valueBytesMax) {
    return fault('value', `value has ${value.length} bytes; the limit is ${limits.valueBytesMax}`);
  }
  if (request.sequence === 0) return fault('sequence', 'sequence must not be 0');
  if (request.ttlMs > TTL_MS_MAX) {
    return fault('ttl', `ttl is ${request.ttlMs} ms; the limit is ${TTL_MS_MAX}`);
  }
  return faultOfIdentity(request) ?? faultOfOperation(request);
}

function faultOfIdentity({ requestId }: KvRequest): RequestFault | undefined {
  if (requestId === undefined || (requestId.client >= 1 && requestId.sequence >= 1)) return undefined;
  return fault('request_id', 'client and sequence of a request are 1 to 2^48 - 1');
}

function faultOfOperation(request: KvRequest): RequestFault | undefined {
  switch (request.op) {
    case KvOp.put:
      return request.value === undefined ? fault('value', 'a put must have a value') : undefined;
    case KvOp.compareAndSet:
      return faultOfExpectation(request);
    case KvOp.scan:
    case KvOp.deleteRange:
      return faultOfSpan(request);
    case KvOp.get:
    case KvOp.delete:
    case KvOp.increment:
    case KvOp.expire:
      return undefined;
    case KvOp.txnRead:
    case KvOp.txnWrite:
    case KvOp.execute:
    case KvOp.changes:
    case KvOp.reserve:
      return request.value === undefined ? fault('value', 'there is no command') : undefined;
  }
}

function faultOfExpectation({ expectation, expected }: KvRequest): RequestFault | undefined {
  if (expectation === Expectation.none) return fault('expected', 'a compare-and-set must expect something');
  if (expectation === Expectation.version && expected.length !== VERSION_BYTES) {
    return fault('expected', `a version has ${VERSION_BYTES} bytes, not ${expected.length}`);
  }
  if (expected.length <= WIDEST_SIZE_LIMITS.valueBytesMax) return undefined;
  return fault(
    'expected',
    `expected has ${expected.length} bytes; the limit is ${WIDEST_SIZE_LIMITS.valueBytesMax}`,
  );
}

function faultOfSpan(request: KvRequest): RequestFault | undefined {
  const { endKey, limit, op, pageBytes } = request;
  if (endKey.length > WIDEST_SIZE_LIMITS.keyBytesMax) {
    return fault(
      'end_key',
      `end_key has ${endKey.length} bytes; the limit is ${WIDEST_SIZE_LIMITS.keyBytesMax}`,
    );
  }
  if (limit < 1 || limit > ROWS_MAX) return fault('limit', `limit is ${limit}; it must be 1 to ${ROWS_MAX}`);
  if (op !== KvOp.scan || (pageBytes >= 1 && pageBytes <= PAGE_BYTES_MAX)) return undefined;
  return fault('page_bytes', `page_bytes is ${pageBytes}; it must be 1 to ${PAGE_BYTES_MAX}`);
}
