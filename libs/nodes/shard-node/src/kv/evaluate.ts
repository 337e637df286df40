import { addToCounter, expiryAfter, NO_BYTES, RowKind, type Timestamp } from '@cairn/base';
import {
  type CommandOutcome,
  encodeVersionToken,
  isVersionLiveAt,
  NO_EXPIRY,
  OutcomeFlag,
  OutcomeKind,
  setFailedCompare,
  type VersionRecord,
} from '@cairn/mvcc';
import { Expectation, KvOp, type KvRequest, type KvResponse } from '@cairn/wire';

/** When and as which write a command takes effect. */
export interface WriteMoment {
  readonly timestamp: Timestamp;
  readonly sequence: number;
  /** What the store takes for now when it looks at expiries. */
  readonly now: Timestamp;
  /** When times to live begin: not before the timestamp. */
  readonly ttlFrom: Timestamp;
}

/** What a command does to its key, decided at the leader. */
export type Evaluation =
  /** Writes the version; `response` is due once it is visible. */
  | { readonly type: 'write'; readonly version: VersionRecord }
  /** Changes nothing, but the outcome is remembered, because it depended on what was there. */
  | { readonly type: 'outcome' }
  /** The request itself is at fault. */
  | { readonly type: 'invalid'; readonly code: 'FAILED_PRECONDITION'; readonly message: string }
  /** It is for bytes, and the key holds a live row of another kind. */
  | { readonly type: 'wrong-kind'; readonly kind: RowKind };

/** Whether a command can be evaluated without knowing what is there. */
export function needsCurrent(op: KvOp): boolean {
  return op !== KvOp.put;
}

/**
 * Evaluates one command against the newest row of its key (undefined = none), and fills in the outcome to
 * remember and the response to give.
 */
export function evaluateWrite(
  request: KvRequest,
  current: VersionRecord | undefined,
  moment: WriteMoment,
  fill: { readonly outcome: CommandOutcome; readonly response: KvResponse },
): Evaluation {
  const live = current !== undefined && isVersionLiveAt(current, moment.now) ? current : undefined;
  fill.outcome.timestamp = moment.timestamp;
  fill.outcome.sequence = moment.sequence;
  fill.outcome.flags = 0;
  fill.outcome.detail = undefined;
  switch (request.op) {
    case KvOp.put:
      fill.outcome.kind = OutcomeKind.put;
      return written(versionOf(request.value ?? NO_BYTES, request.ttlMs, moment), fill.response);
    case KvOp.delete:
      return evaluateDelete(live, moment, fill);
    case KvOp.compareAndSet:
      return evaluateCompareAndSet(request, live, moment, fill);
    case KvOp.increment:
      return evaluateIncrement(request, live, moment, fill);
    case KvOp.expire:
      return evaluateExpire(request, live, moment, fill);
    default:
      return { type: 'invalid', code: 'FAILED_PRECONDITION', message: 'not a write of one key' };
  }
}

type Fill = Parameters<typeof evaluateWrite>[3];

function evaluateDelete(live: VersionRecord | undefined, moment: WriteMoment, fill: Fill): Evaluation {
  return evaluateExisting(live, fill, () => tombstoneAt(moment));
}

/** What a command that is remembered as a delete does to a key that is there. */
function evaluateExisting(
  live: VersionRecord | undefined,
  fill: Fill,
  versionAfter: (live: VersionRecord) => VersionRecord,
): Evaluation {
  fill.outcome.kind = OutcomeKind.delete;
  if (live === undefined) {
    fill.outcome.sequence = 0;
    return { type: 'outcome' };
  }
  fill.outcome.flags = OutcomeFlag.existed;
  fill.response.found = true;
  return written(versionAfter(live), fill.response);
}

/** The value is written anew: it is the same row, of whatever kind, with another end. */
function evaluateExpire(
  request: KvRequest,
  live: VersionRecord | undefined,
  moment: WriteMoment,
  fill: Fill,
): Evaluation {
  return evaluateExisting(live, fill, ({ kind, value }) => ({
    ...versionOf(value, request.ttlMs, moment),
    kind,
  }));
}

function evaluateCompareAndSet(
  request: KvRequest,
  live: VersionRecord | undefined,
  moment: WriteMoment,
  fill: Fill,
): Evaluation {
  // A collection may change without its row, so neither value nor version of that say what is there.
  const isForBytes = request.expectation === Expectation.value || request.expectation === Expectation.version;
  if (live !== undefined && live.kind !== RowKind.bytes && isForBytes) {
    return { type: 'wrong-kind', kind: live.kind };
  }
  if (!isExpected(request, live)) {
    failCompare(live, fill);
    return { type: 'outcome' };
  }
  fill.outcome.kind = OutcomeKind.compareAndSet;
  fill.outcome.flags = OutcomeFlag.succeeded;
  fill.response.succeeded = true;
  const version =
    request.value === undefined ? tombstoneAt(moment) : versionOf(request.value, request.ttlMs, moment);
  return written(version, fill.response);
}

function failCompare(live: VersionRecord | undefined, { outcome, response }: Fill): void {
  response.found = live !== undefined;
  if (live === undefined) {
    setFailedCompare(outcome, undefined);
    return;
  }
  const { kind, value } = live;
  const token = encodeVersionToken(live.timestamp, live.sequence);
  setFailedCompare(outcome, { token, value, kind });
  response.version = token;
  response.kind = kind;
  if (kind === RowKind.bytes) response.value = value;
}

function isExpected(request: KvRequest, live: VersionRecord | undefined): boolean {
  switch (request.expectation) {
    case Expectation.none:
    case Expectation.absent:
      return live === undefined;
    case Expectation.value:
      return live !== undefined && Buffer.compare(live.value, request.expected) === 0;
    case Expectation.version:
      return (
        live !== undefined &&
        Buffer.compare(encodeVersionToken(live.timestamp, live.sequence), request.expected) === 0
      );
  }
}

function evaluateIncrement(
  request: KvRequest,
  live: VersionRecord | undefined,
  moment: WriteMoment,
  fill: Fill,
): Evaluation {
  if (live !== undefined && live.kind !== RowKind.bytes) return { type: 'wrong-kind', kind: live.kind };
  fill.outcome.kind = OutcomeKind.increment;
  const sum = addToCounter(live?.value, BigInt(request.delta));
  if (sum.type === 'invalid') return { ...sum, code: 'FAILED_PRECONDITION' };
  fill.response.number = sum.number.toString();
  const value = Buffer.from(fill.response.number, 'latin1');
  // An increment keeps the time to live that the counter has.
  return written({ ...versionOf(value, 0, moment), expiry: live?.expiry ?? NO_EXPIRY }, fill.response);
}

function written(version: VersionRecord, response: KvResponse): Evaluation {
  response.version = encodeVersionToken(version.timestamp, version.sequence);
  response.timestamp = version.timestamp;
  return { type: 'write', version };
}

export function versionOf(value: Uint8Array, ttlMs: number, moment: WriteMoment): VersionRecord {
  const expiry = ttlMs === 0 ? NO_EXPIRY : expiryAfter(moment.ttlFrom, ttlMs);
  const { timestamp: at, sequence } = moment;
  return { timestamp: at, sequence, expiry, tombstone: false, kind: RowKind.bytes, value };
}

export function tombstoneAt(moment: WriteMoment): VersionRecord {
  return {
    timestamp: moment.timestamp,
    sequence: moment.sequence,
    expiry: NO_EXPIRY,
    tombstone: true,
    kind: RowKind.bytes,
    value: NO_BYTES,
  };
}
