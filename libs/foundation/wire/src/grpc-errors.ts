import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import {
  CairnError,
  messageOf,
  printable,
  rethrowInvariant,
  retryClassOf,
  type ErrorCode,
  type RetryClass as RetryClassName,
} from '@cairn/base';
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';

import { ErrorDetail, RetryClass } from './gen/cairn/v1/errors.js';
import { RowKind } from './gen/cairn/v1/kinds.js';

/** Where gRPC carries a serialized google.rpc.Status. */
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';
const DETAIL_TYPE_URL = 'type.googleapis.com/cairn.v1.ErrorDetail';

const STATUS_BY_CODE: Readonly<Record<ErrorCode, status>> = {
  INVALID_ARGUMENT: status.INVALID_ARGUMENT,
  FAILED_PRECONDITION: status.FAILED_PRECONDITION,
  NOT_LEADER: status.UNAVAILABLE,
  EPOCH_MISMATCH: status.UNAVAILABLE,
  RANGE_NOT_FOUND: status.UNAVAILABLE,
  RESOURCE_EXHAUSTED: status.RESOURCE_EXHAUSTED,
  UNAVAILABLE: status.UNAVAILABLE,
  DEADLINE_EXCEEDED: status.DEADLINE_EXCEEDED,
  CANCELLED: status.CANCELLED,
  OUTCOME_UNKNOWN: status.UNKNOWN,
  DISK_FULL: status.RESOURCE_EXHAUSTED,
  CORRUPTION: status.DATA_LOSS,
  CLUSTER_MISMATCH: status.INTERNAL,
  NAME_TAKEN: status.INTERNAL,
  FORMAT_TOO_NEW: status.INTERNAL,
  WRONG_KIND: status.FAILED_PRECONDITION,
  LOCKED: status.UNAVAILABLE,
  TRANSACTION_ABORTED: status.ABORTED,
  TRANSACTION_NOT_FOUND: status.NOT_FOUND,
  TRANSACTION_TOO_LARGE: status.FAILED_PRECONDITION,
  WATCH_RESET: status.OUT_OF_RANGE,
  LOCK_NOT_AVAILABLE: status.FAILED_PRECONDITION,
  INTERNAL: status.INTERNAL,
};

/** For statuses without our detail: made by a proxy, by grpc itself, or by another server. */
const CODE_BY_STATUS: ReadonlyMap<number, ErrorCode> = new Map([
  [status.CANCELLED, 'CANCELLED'],
  [status.INVALID_ARGUMENT, 'INVALID_ARGUMENT'],
  [status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'],
  [status.RESOURCE_EXHAUSTED, 'RESOURCE_EXHAUSTED'],
  [status.FAILED_PRECONDITION, 'FAILED_PRECONDITION'],
  [status.UNAVAILABLE, 'UNAVAILABLE'],
  [status.DATA_LOSS, 'CORRUPTION'],
  [status.UNIMPLEMENTED, 'FAILED_PRECONDITION'],
]);

/** To the outside there are four classes: the router repairs routes and finds leaders itself. */
const OUTSIDE_CLASS: Readonly<Record<RetryClassName, RetryClass>> = {
  'refresh-route': RetryClass.BACK_OFF,
  'new-leader': RetryClass.BACK_OFF,
  'back-off': RetryClass.BACK_OFF,
  restart: RetryClass.RESTART,
  undetermined: RetryClass.UNDETERMINED,
  fatal: RetryClass.FATAL,
};

export function grpcStatusOf(code: ErrorCode): number {
  return STATUS_BY_CODE[code];
}

/**
 * The detail that travels in statuses and in the results of batches. Anything but a CairnError is INTERNAL;
 * an assertion that failed is no answer, and ends the process.
 */
export function errorDetailOf(error: unknown): ErrorDetail {
  const known = CairnError.is(error) ? error : internalError(error);
  const { field, kind } = known.details;
  return {
    code: known.code,
    message: printable(known.message),
    retryClass: OUTSIDE_CLASS[known.retryClass],
    retryAfterMs: Math.min(0xffffffff, Math.max(0, Math.ceil(known.retryAfterMs))),
    field: typeof field === 'string' ? field : '',
    kind: typeof kind === 'number' ? kind : RowKind.UNSPECIFIED,
  };
}

function internalError(error: unknown): CairnError {
  rethrowInvariant(error);
  return new CairnError('INTERNAL', messageOf(error));
}

/** What a grpc-js handler answers to fail a call: status, sentence, and the detail as google.rpc.Status. */
export function toServiceError(error: unknown): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const detail = errorDetailOf(error);
  return failureOf(STATUS_BY_CODE[detail.code as ErrorCode], detail);
}

/**
 * The same for a status that gRPC itself made, without our detail. `isWrite`: the call may have changed
 * something by then.
 */
export function completedFailure(
  code: number,
  details: string,
  isWrite: boolean,
): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const known = CODE_BY_STATUS.get(code) ?? 'INTERNAL';
  const isUnclear = isWrite && (known === 'DEADLINE_EXCEEDED' || known === 'INTERNAL');
  const said = isUnclear ? 'OUTCOME_UNKNOWN' : known;
  return failureOf(code, {
    // Nobody inside answers so, hence it is no code of ours; to clients it is what it says.
    code: code === status.UNIMPLEMENTED ? 'UNIMPLEMENTED' : said,
    message: printable(details),
    retryClass: OUTSIDE_CLASS[retryClassOf(said)],
    retryAfterMs: 0,
    field: '',
    kind: RowKind.UNSPECIFIED,
  });
}

function failureOf(code: number, detail: ErrorDetail): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const wrapped = new BinaryWriter()
    .uint32(8)
    .int32(code)
    .uint32(18)
    .string(detail.message)
    .uint32(26)
    .fork();
  wrapped.uint32(10).string(DETAIL_TYPE_URL).uint32(18).bytes(ErrorDetail.encode(detail).finish()).join();
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, Buffer.from(wrapped.finish()));
  return { code, details: detail.message, metadata };
}

/** The other direction: the error that was thrown behind the call, as far as the status tells. */
export function fromServiceError(error: Pick<ServiceError, 'code' | 'details' | 'metadata'>): CairnError {
  const packed = error.metadata.get(STATUS_DETAILS_KEY)[0];
  const detail = packed === undefined || typeof packed === 'string' ? undefined : unwrapDetail(packed);
  if (detail === undefined || !Object.hasOwn(STATUS_BY_CODE, detail.code)) {
    return new CairnError(CODE_BY_STATUS.get(error.code) ?? 'INTERNAL', error.details, { cause: error });
  }
  return new CairnError(detail.code as ErrorCode, detail.message, {
    retryAfterMs: detail.retryAfterMs,
    details: {
      ...(detail.field === '' ? {} : { field: detail.field }),
      ...(detail.code === 'WRONG_KIND' ? { kind: detail.kind } : {}),
    },
    cause: error,
  });
}

/** undefined when the bytes hold no detail of ours, or are garbled: the status alone must do then. */
function unwrapDetail(bytes: Uint8Array): ErrorDetail | undefined {
  try {
    const any = lengthDelimited(bytes, 3)[0];
    if (any === undefined) return undefined;
    const url = lengthDelimited(any, 1)[0];
    const value = lengthDelimited(any, 2)[0];
    if (url === undefined || value === undefined || Buffer.from(url).toString() !== DETAIL_TYPE_URL)
      return undefined;
    return ErrorDetail.decode(value);
  } catch (error) {
    rethrowInvariant(error);
    return undefined;
  }
}

function lengthDelimited(bytes: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(bytes);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === wanted && type === 2) found.push(reader.bytes());
    else reader.skip(type, field);
  }
  return found;
}
