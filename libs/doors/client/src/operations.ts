import { isInt64, NO_BYTES, unreachable } from '@cairn/base';
import {
  checkBound,
  isReserved,
  reservedKey,
  checkKey,
  checkValue,
  invalidArgument,
  prefixEnd,
  OPERATION_BYTES_MAX,
  toBuffer,
  WIDEST_SIZES,
  type BytesInput,
  type SizeLimits,
} from './bytes.js';
import type {
  CompareAndSetOptions,
  PutOptions,
  ReadConsistency,
  ReadOptions,
  ScanOptions,
  Span,
  WriteOptions,
  WriteOrdering,
} from './options.js';
import { blankRequestId, type CallOperation } from './pending-call.js';
import { newScanRequest } from './scan.js';
import { Consistency, Ordering, type CompareAndSetRequest, type ScanRequest } from './wire-binding.js';

/** An operation ready to send, with its size as far as it matters for filling messages. */
export interface SizedOperation {
  readonly operation: CallOperation;
  readonly byteLength: number;
}

/** Room for tags, ids and numbers of one operation in its message. */
const OVERHEAD_BYTES = 64;

export function orderingOf(ordering: WriteOrdering | undefined): Ordering {
  if (ordering === undefined || ordering === 'plain') return Ordering.PLAIN;
  if (ordering === 'strict') return Ordering.STRICT;
  throw invalidArgument('ordering', `ordering must be "plain" or "strict", not ${String(ordering)}`);
}

export function consistencyOf(consistency: ReadConsistency | undefined): Consistency {
  if (consistency === undefined || consistency === 'linearizable') return Consistency.LINEARIZABLE;
  if (consistency === 'stale') return Consistency.STALE;
  if (typeof consistency === 'object' && timestampOf(consistency) > 0) return Consistency.TIMESTAMP;
  throw invalidArgument('consistency', 'consistency must be "linearizable", "stale" or { timestamp }');
}

export function timestampOf(consistency: ReadConsistency | undefined): number {
  if (typeof consistency !== 'object') return 0;
  const { timestamp } = consistency;
  if (Number.isSafeInteger(timestamp) && timestamp > 0) return timestamp;
  throw invalidArgument('timestamp', `timestamp must be a positive whole number, not ${String(timestamp)}`);
}

/** INVALID_ARGUMENT unless it is left out, or a whole number of milliseconds. */
export function ttlOf(ttlMs: number | undefined): number {
  if (ttlMs === undefined) return 0;
  if (Number.isSafeInteger(ttlMs) && ttlMs >= 0) return ttlMs;
  throw invalidArgument('ttlMs', `ttlMs must be a whole number of milliseconds, 0 or more, not ${ttlMs}`);
}

function keyOf(key: BytesInput, sizes: SizeLimits): Buffer {
  const bytes = toBuffer(key, 'key');
  checkKey(bytes, sizes);
  return bytes;
}

function valueOf(value: BytesInput, sizes: SizeLimits, field = 'value'): Buffer {
  const bytes = toBuffer(value, field);
  checkValue(bytes, sizes, field);
  return bytes;
}

export function getOperation(key: BytesInput, options: ReadOptions): SizedOperation {
  const bytes = keyOf(key, WIDEST_SIZES);
  const consistency = consistencyOf(options.consistency);
  const value = { key: bytes, consistency, timestamp: timestampOf(options.consistency) };
  return { operation: { $case: 'get', value }, byteLength: bytes.length + OVERHEAD_BYTES };
}

export function putOperation(
  sizes: SizeLimits,
  key: BytesInput,
  value: BytesInput,
  options: PutOptions,
): SizedOperation {
  const keyBytes = keyOf(key, sizes);
  const valueBytes = valueOf(value, sizes);
  return {
    operation: {
      $case: 'put',
      value: {
        key: keyBytes,
        value: valueBytes,
        ttlMs: ttlOf(options.ttlMs),
        ordering: orderingOf(options.ordering),
        requestId: blankRequestId(),
      },
    },
    byteLength: keyBytes.length + valueBytes.length + OVERHEAD_BYTES,
  };
}

export function deleteOperation(key: BytesInput, options: WriteOptions): SizedOperation {
  const bytes = keyOf(key, WIDEST_SIZES);
  const value = { key: bytes, ordering: orderingOf(options.ordering), requestId: blankRequestId() };
  return { operation: { $case: 'delete', value }, byteLength: bytes.length + OVERHEAD_BYTES };
}

/** `ttlMs` 0: the key does not disappear by itself any more. */
export function expireOperation(key: BytesInput, ttlMs: number, options: WriteOptions): SizedOperation {
  const bytes = keyOf(key, WIDEST_SIZES);
  const value = {
    key: bytes,
    ttlMs: ttlOf(ttlMs),
    ordering: orderingOf(options.ordering),
    requestId: blankRequestId(),
  };
  return { operation: { $case: 'expire', value }, byteLength: bytes.length + OVERHEAD_BYTES };
}

export function compareAndSetOperation(
  sizes: SizeLimits,
  key: BytesInput,
  options: CompareAndSetOptions,
): SizedOperation {
  const bytes = keyOf(key, sizes);
  const value = options.value === undefined ? undefined : valueOf(options.value, sizes);
  const expected = expectationOf(options);
  const expectedLength = typeof expected?.value === 'object' ? expected.value.length : 0;
  const byteLength = bytes.length + (value?.length ?? 0) + expectedLength + OVERHEAD_BYTES;
  if (byteLength > OPERATION_BYTES_MAX) {
    const sum = `key, value and expectedValue have ${byteLength} bytes together`;
    throw invalidArgument('expectedValue', `${sum}; the limit is ${OPERATION_BYTES_MAX}; expect a version`);
  }
  return {
    operation: {
      $case: 'compareAndSet',
      value: {
        key: bytes,
        value,
        expected,
        ttlMs: ttlOf(options.ttlMs),
        ordering: orderingOf(options.ordering),
        requestId: blankRequestId(),
      },
    },
    byteLength,
  };
}

function expectationOf(options: CompareAndSetOptions): CompareAndSetRequest['expected'] {
  const { expectedAbsent, expectedValue, expectedVersion } = options;
  const given =
    Number(expectedAbsent !== undefined) +
    Number(expectedValue !== undefined) +
    Number(expectedVersion !== undefined);
  if (given !== 1) {
    throw invalidArgument(
      'expected',
      `compareAndSet takes one of expectedAbsent, expectedValue and expectedVersion; ${given} were given`,
    );
  }
  if (expectedValue !== undefined) {
    return { $case: 'expectedValue', value: valueOf(expectedValue, WIDEST_SIZES, 'expectedValue') };
  }
  if (expectedVersion !== undefined) {
    const version = toBuffer(expectedVersion, 'expectedVersion');
    if (version.length === 0) throw invalidArgument('expectedVersion', 'expectedVersion must not be empty');
    return { $case: 'expectedVersion', value: version };
  }
  return { $case: 'absent', value: true };
}

export function incrementOperation(
  sizes: SizeLimits,
  key: BytesInput,
  delta: number | bigint,
  options: WriteOptions,
): SizedOperation {
  const bytes = keyOf(key, sizes);
  const value = {
    key: bytes,
    delta: deltaOf(delta),
    ordering: orderingOf(options.ordering),
    requestId: blankRequestId(),
  };
  return { operation: { $case: 'increment', value }, byteLength: bytes.length + OVERHEAD_BYTES };
}

/** As the wire has it. INVALID_ARGUMENT for what does not fit 64 bits. */
export function deltaOf(delta: number | bigint): string {
  switch (typeof delta) {
    case 'bigint':
      if (isInt64(delta)) return delta.toString();
      throw invalidArgument('delta', `delta must fit 64 bits with sign, ${delta} does not`);
    case 'number':
      if (Number.isSafeInteger(delta)) return String(delta);
      throw invalidArgument('delta', `delta must be a safe integer (or a bigint), not ${delta}`);
    default:
      return unreachable(delta, 'delta must be a number or a bigint');
  }
}

/** Turns a span into bounds: a prefix becomes start and end. */
export function boundsOf(span: Span): { start: Buffer; end: Buffer } {
  const start = span.start === undefined ? NO_BYTES : toBuffer(span.start, 'start');
  const end = span.end === undefined ? NO_BYTES : toBuffer(span.end, 'end');
  if (span.prefix !== undefined) {
    if (start.length > 0 || end.length > 0) {
      throw invalidArgument('prefix', 'prefix cannot be combined with start or end');
    }
    const prefix = toBuffer(span.prefix, 'prefix');
    checkBound(prefix, WIDEST_SIZES, 'prefix');
    // It travels as a start, which a router would refuse by that name.
    if (isReserved(prefix)) throw reservedKey('prefix');
    return { start: prefix, end: prefixEnd(prefix) };
  }
  checkBound(start, WIDEST_SIZES, 'start');
  checkBound(end, WIDEST_SIZES, 'end');
  return { start, end };
}

/** True when one of the bounds is given and not empty. */
export function isNonEmpty(...bounds: readonly (BytesInput | undefined)[]): boolean {
  return bounds.some((bound) => bound !== undefined && bound.length > 0);
}

/** True when no key can be in the span. */
export function isEmptySpan(bounds: { readonly start: Buffer; readonly end: Buffer }): boolean {
  return bounds.end.length > 0 && Buffer.compare(bounds.start, bounds.end) >= 0;
}

/** `all`: everything is meant; a router refuses empty bounds without it. */
export function deleteRangeOperation(bounds: { start: Buffer; end: Buffer }, all: boolean): SizedOperation {
  const { start, end } = bounds;
  return {
    operation: { $case: 'deleteRange', value: { start, end, prefix: NO_BYTES, all } },
    byteLength: bounds.start.length + bounds.end.length + OVERHEAD_BYTES,
  };
}

const PAGE_BYTES_MAX = 2 * 1024 * 1024;

export function scanRequest(options: ScanOptions): ScanRequest {
  const request = newScanRequest();
  const bounds = boundsOf(options);
  request.start = bounds.start;
  request.end = bounds.end;
  request.limit = wholeNumber('limit', options.limit ?? 0, Number.MAX_SAFE_INTEGER);
  request.pageBytes = wholeNumber('pageBytes', options.pageBytes ?? 0, PAGE_BYTES_MAX);
  request.reverse = options.reverse ?? false;
  request.keysOnly = options.keysOnly ?? false;
  request.consistency = consistencyOf(options.consistency);
  request.timestamp = timestampOf(options.consistency);
  return request;
}

function wholeNumber(field: string, value: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= 0 && value <= most) return value;
  throw invalidArgument(field, `${field} must be a whole number from 0 to ${most}, not ${value}`);
}
