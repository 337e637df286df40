import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { CairnError, isErrorCode, retryClassOf, rowKindName, type ErrorCode } from '@cairn/base';
import { ErrorDetail, WireRetryClass, WireRowKind } from './wire-binding.js';

/** Where a gRPC status carries its `google.rpc.Status`. */
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';
const ERROR_DETAIL_TYPE_URL = 'type.googleapis.com/cairn.v1.ErrorDetail';

/**
 * The error a router described. A code that this version does not know keeps its retry class, so that a newer
 * server's refusal is still handled rightly; its name is in `details.serverCode`.
 */
export function errorFromDetail(detail: ErrorDetail): CairnError {
  const details: Record<string, unknown> = {};
  if (detail.field !== '') details['field'] = detail.field;
  if (detail.code === 'WRONG_KIND') details['kind'] = rowKindName(detail.kind);
  let code: ErrorCode;
  if (isErrorCode(detail.code)) {
    code = detail.code;
  } else {
    details['serverCode'] = detail.code;
    code = codeOfRetryClass(detail.retryClass);
  }
  const message = detail.message === '' ? `the server answered ${detail.code}` : detail.message;
  return new CairnError(code, message, { retryAfterMs: detail.retryAfterMs, details });
}

function codeOfRetryClass(retryClass: WireRetryClass): ErrorCode {
  switch (retryClass) {
    case WireRetryClass.BACK_OFF:
      return 'UNAVAILABLE';
    case WireRetryClass.UNDETERMINED:
      return 'OUTCOME_UNKNOWN';
    case WireRetryClass.RESTART:
      return 'TRANSACTION_ABORTED';
    case WireRetryClass.FATAL:
    case WireRetryClass.UNSPECIFIED:
      return 'INTERNAL';
    default:
      return 'INTERNAL';
  }
}

/** The wire form of an error; the counterpart of `errorFromDetail`. */
export function detailFromError(error: CairnError): ErrorDetail {
  return {
    code: error.code,
    message: error.message,
    retryClass: wireRetryClassOf(error.code),
    retryAfterMs: Math.ceil(error.retryAfterMs),
    field: typeof error.details['field'] === 'string' ? error.details['field'] : '',
    kind: WireRowKind.UNSPECIFIED,
  };
}

function wireRetryClassOf(code: ErrorCode): WireRetryClass {
  const retryClass = retryClassOf(code);
  if (retryClass === 'undetermined') return WireRetryClass.UNDETERMINED;
  if (retryClass === 'restart') return WireRetryClass.RESTART;
  return retryClass === 'fatal' ? WireRetryClass.FATAL : WireRetryClass.BACK_OFF;
}

/** True for errors that say "send it again later": what the client retries by itself. */
export function isRetriable({ retryClass }: CairnError): boolean {
  return retryClass !== 'fatal' && retryClass !== 'undetermined' && retryClass !== 'restart';
}

/** The parts of a gRPC failure that matter here. */
export interface GrpcFailure {
  readonly code: number;
  readonly details: string;
  /** `grpc-status-details-bin`, when there is one. */
  readonly statusDetails: Uint8Array | undefined;
}

/**
 * The error behind a gRPC status: the typed detail where there is one, else what the bare code means when
 * transport, proxies or a foreign server made it.
 */
export function errorFromGrpc(failure: GrpcFailure, target: string): CairnError {
  const detail = failure.statusDetails === undefined ? undefined : decodeStatusDetails(failure.statusDetails);
  if (detail !== undefined) return errorFromDetail(detail);
  const details = { grpcCode: failure.code, transport: true };
  switch (failure.code) {
    case 3:
    case 11:
      return new CairnError('INVALID_ARGUMENT', failure.details, { details });
    case 9:
      return new CairnError('FAILED_PRECONDITION', failure.details, { details });
    case 4:
      return new CairnError('DEADLINE_EXCEEDED', `no answer from ${target} in time`, { details });
    case 8:
      return new CairnError('RESOURCE_EXHAUSTED', failure.details, { details });
    case 12:
      return new CairnError('INTERNAL', `${target} is no Cairn router, or an older one: ${failure.details}`, {
        details,
      });
    case 7:
    case 16:
      return new CairnError('INTERNAL', `${target} refused the connection: ${failure.details}`, { details });
    default:
      // 14 is a lost or refused connection; 1, 2 and 13 are what resets of streams turn into.
      return new CairnError('UNAVAILABLE', `${target}: ${plainReason(failure.details)}`, { details });
  }
}

const WHICH_PORT = 'is it the gRPC port of a router?';

/**
 * grpc-js wraps what the system said about a connection in a history of attempts; people want the last of it,
 * and words for what a wrong port does.
 */
function plainReason(details: string): string {
  const last = /Last error: (?:Error: )?(.*?)\. Resolution note:/s.exec(details)?.[1];
  if (last === undefined) return details;
  if (/^connect ECONNREFUSED/.test(last)) return 'connection refused (ECONNREFUSED)';
  if (/^Protocol error/.test(last)) return `what answers there does not speak gRPC; ${WHICH_PORT}`;
  if (/^Failed to connect/.test(last))
    return `it closed the connection without a word of gRPC; ${WHICH_PORT}`;
  // The time that follows is that of now.
  return last.replace(/ \(\d{4}-\d\d-\d\dT[^)]*\)$/, '');
}

/** Finds the ErrorDetail in an encoded `google.rpc.Status`; undefined when it holds none or is garbled. */
export function decodeStatusDetails(bytes: Uint8Array): ErrorDetail | undefined {
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field !== 3 || wireType !== WireType.LengthDelimited) {
        reader.skip(wireType);
        continue;
      }
      const detail = decodeAny(reader.bytes());
      if (detail !== undefined) return detail;
    }
    return undefined;
  } catch {
    // Garbled details come from something between us and the server; the plain status still says enough.
    return undefined;
  }
}

function decodeAny(bytes: Uint8Array): ErrorDetail | undefined {
  const reader = new BinaryReader(bytes);
  let typeUrl = '';
  let value: Uint8Array | undefined;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) typeUrl = reader.string();
    else if (field === 2 && wireType === WireType.LengthDelimited) value = reader.bytes();
    else reader.skip(wireType);
  }
  return typeUrl === ERROR_DETAIL_TYPE_URL && value !== undefined ? ErrorDetail.decode(value) : undefined;
}

/** An encoded `google.rpc.Status` that carries the error's detail. */
export function encodeStatusDetails(grpcCode: number, error: CairnError): Buffer {
  const any = new BinaryWriter()
    .tag(1, 2)
    .string(ERROR_DETAIL_TYPE_URL)
    .tag(2, 2)
    .bytes(ErrorDetail.encode(detailFromError(error)).finish())
    .finish();
  const status = new BinaryWriter();
  status.tag(1, 0).int32(grpcCode).tag(2, 2).string(error.message).tag(3, 2).bytes(any);
  return Buffer.from(status.finish());
}
