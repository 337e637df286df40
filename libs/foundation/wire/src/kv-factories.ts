import { NO_BYTES, NOTHING, RowKind, timestamp, type RangeId } from '@cairn/base';

import { Expectation, KvOp, ReadConsistency, type KvRequest, type KvResponse } from './kv-messages.js';
import { NO_ROWS } from './packed-rows.js';
import type { ReadRow } from './txn-messages.js';

/** A request with every field at its default: the one place that decides the shape. */
export function newKvRequest(): KvRequest {
  return {
    sequence: 0,
    op: KvOp.get,
    rangeId: 0 as RangeId,
    epochVersion: 0,
    consistency: ReadConsistency.linearizable,
    strict: false,
    reverse: false,
    keysOnly: false,
    timeoutMs: 0,
    key: NO_BYTES,
    endKey: NO_BYTES,
    value: undefined,
    expectation: Expectation.none,
    expected: NO_BYTES,
    delta: '0',
    ttlMs: 0,
    readTimestamp: timestamp(0),
    ignoreLocks: NOTHING,
    limit: 0,
    pageBytes: 0,
    requestId: undefined,
    trace: undefined,
  };
}

/** A response with every field at its default. */
export function newKvResponse(sequence: number, op: KvOp): KvResponse {
  return {
    sequence,
    op,
    error: undefined,
    found: false,
    succeeded: false,
    value: undefined,
    kind: RowKind.bytes,
    version: NO_BYTES,
    timestamp: timestamp(0),
    expiresUnixMs: 0,
    number: '',
    count: 0,
    rows: NO_ROWS,
    resumeKey: undefined,
  };
}

/** What transactions are shown of a key that is not there. */
export const NO_READ_ROW: ReadRow = {
  found: false,
  value: NO_BYTES,
  version: NO_BYTES,
  kind: RowKind.bytes,
  expiresUnixMs: 0,
};
