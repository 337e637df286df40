import { CairnError, isErrorCode, type RangeDescriptor } from '@cairn/base';
import { KvOp, type KvError, type KvResponse } from '@cairn/wire';

import { compareKeys } from './keys.js';
import { isSpan, isTransaction, type RoutedOperation } from './operation.js';

/** A descriptor that names more members than this is none. */
const REPLICAS_MAX = 64;
const NUMBER_DIGITS_MAX = 20;

/**
 * What is wrong with an answer that a store gave to an operation; undefined = nothing. What comes from
 * another process is never asserted: a store that answers nonsense loses its connection, and what it had
 * goes to others. Costs a comparison for single keys.
 */
export function problemOf(operation: RoutedOperation, response: KvResponse): string | undefined {
  const { op } = operation.request;
  if (response.op !== op) return `operation ${op} was answered as operation ${response.op}`;
  if (response.error !== undefined) return problemOfError(response.error);
  if (isSpan(op)) return problemOfSpan(operation, response);
  if (isTransaction(op) && response.value === undefined) return 'a command without its reply';
  if (op === KvOp.increment && !isWholeNumber(response.number)) return 'a sum that is not a whole number';
  return undefined;
}

/** What a store refused an operation with, as its caller hears it. */
export function errorOf({ code, message, retryAfterMs, field, kind }: KvError): CairnError {
  return new CairnError(code, message, {
    retryAfterMs,
    details: {
      ...(field === '' ? {} : { field }),
      ...(code === 'WRONG_KIND' ? { kind } : {}),
    },
  });
}

function isWholeNumber(text: string): boolean {
  return text.length <= NUMBER_DIGITS_MAX && /^-?\d+$/.test(text);
}

function problemOfError({ code, descriptors }: KvError): string | undefined {
  if (!isErrorCode(code)) return `the unknown error code ${String(code).slice(0, 40)}`;
  for (const descriptor of descriptors) {
    const problem = problemOfDescriptor(descriptor);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** What is wrong with a descriptor that another process sent; undefined = nothing. */
export function problemOfDescriptor(descriptor: RangeDescriptor): string | undefined {
  const { rangeId, startKey, endKey, epoch, replicas } = descriptor;
  if (endKey.length > 0 && compareKeys(startKey, endKey) >= 0)
    return `range ${rangeId} ends before it begins`;
  if (!isCount(rangeId) || rangeId === 0 || !isCount(epoch.version) || !isCount(epoch.confVersion))
    return `range ${rangeId} has version ${epoch.version} and membership version ${epoch.confVersion}`;
  if (replicas.length === 0 || replicas.length > REPLICAS_MAX)
    return `range ${rangeId} has ${replicas.length} replicas`;
  if (!replicas.every(({ storeId }) => isCount(storeId) && storeId > 0))
    return `range ${rangeId} is at a store without id`;
  return undefined;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Every page and chunk brings its span forward; one that does not would be asked for again without end. */
function problemOfSpan({ request }: RoutedOperation, response: KvResponse): string | undefined {
  const { resumeKey } = response;
  const count = request.op === KvOp.scan ? response.rows.count : response.count;
  if (count > request.limit) return `${count} rows where ${request.limit} were asked for`;
  if (resumeKey === undefined) return undefined;
  const isForward = !request.reverse || request.op === KvOp.deleteRange;
  if (isForward) {
    const isAhead = compareKeys(resumeKey, request.key) > 0;
    return isAhead ? undefined : 'a span that goes on at or before the key where it began';
  }
  const isBehind = request.endKey.length === 0 || compareKeys(resumeKey, request.endKey) < 0;
  return isBehind ? undefined : 'a reverse span that goes on at or behind the key where it began';
}
