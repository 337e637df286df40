import { describe, expect, it } from '@jest/globals';
import { CairnError, type ErrorCode } from '@cairn/base';
import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { BatchRequest, BatchResponse } from './gen/cairn/v1/kv.js';
import { decodeBatchResponse, encodeBatchRequest } from './grpc-batch-client.js';
import { decodeBatchRequest } from './grpc-batch-request.js';
import { encodeBatchResponse } from './grpc-batch-response.js';
import { fromServiceError, grpcStatusOf, toServiceError } from './grpc-errors.js';

const bytes = fc.uint8Array({ maxLength: 200 }).map((found) => Buffer.from(found));
const nat = fc.maxSafeNat();
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const bool = fc.boolean();
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });
const kind = <C extends string, T>($case: C, value: fc.Arbitrary<T>): fc.Arbitrary<{ $case: C; value: T }> =>
  fc.record({ $case: fc.constant($case), value });
const delta = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const requestId = maybe(fc.record({ client: nat, sequence: nat, stamp: nat, retry: bool }));
const ordering = fc.integer({ min: 0, max: 2 });

const ofKey = fc.record({ key: bytes });
const transactionPut = kind('put', fc.record({ key: bytes, value: bytes, ttlMs: nat }));
const transactionDelete = kind('delete', ofKey);
const few = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { maxLength: 5 });
const executed = few(
  fc.record({
    operation: maybe(
      fc.oneof(
        kind('get', ofKey),
        transactionPut,
        transactionDelete,
        kind('increment', fc.record({ key: bytes, delta })),
      ),
    ),
  }),
);
const condition = maybe(
  fc.oneof(
    kind('exists', bool),
    kind('absent', bool),
    kind('valueEquals', bytes),
    kind('versionEquals', bytes),
  ),
);
const transactional = fc.oneof(
  kind(
    'snapshotGet',
    fc.record({ keys: few(bytes), at: maybe(fc.oneof(kind('timestamp', nat), kind('fresh', bool))) }),
  ),
  kind('getTimestamp', fc.constant({})),
  kind(
    'commit',
    fc.record({
      ...{ start: nat, isolation: fc.integer({ min: 0, max: 3 }), reads: few(bytes) },
      spans: few(fc.record({ start: bytes, end: bytes })),
      writes: few(fc.record({ write: maybe(fc.oneof(transactionPut, transactionDelete)) })),
      ...{ reserved: few(bytes), owner: nat },
    }),
  ),
  kind(
    'execute',
    fc.record({ conditions: few(fc.record({ key: bytes, condition })), then: executed, otherwise: executed }),
  ),
  kind(
    'reserve',
    fc.record({
      ...{ owner: nat, keys: few(bytes), strength: fc.integer({ min: 0, max: 3 }) },
      ...{ policy: fc.integer({ min: 0, max: 3 }), lockTimeoutMs: u32, start: nat },
    }),
  ),
  kind('release', fc.record({ owner: nat })),
);

const operation = maybe(
  fc.oneof(
    transactional,
    kind('get', fc.record({ key: bytes, consistency: fc.integer({ min: 0, max: 3 }), timestamp: nat })),
    kind('put', fc.record({ key: bytes, value: bytes, ttlMs: nat, ordering, requestId })),
    kind('delete', fc.record({ key: bytes, ordering, requestId })),
    kind('increment', fc.record({ key: bytes, delta, ordering, requestId })),
    kind('expire', fc.record({ key: bytes, ttlMs: nat, ordering, requestId })),
    kind('deleteRange', fc.record({ start: bytes, end: bytes, prefix: bytes, all: bool })),
    kind(
      'compareAndSet',
      fc.record({
        key: bytes,
        value: maybe(bytes),
        ttlMs: nat,
        ordering,
        requestId,
        expected: maybe(
          fc.oneof(kind('absent', bool), kind('expectedValue', bytes), kind('expectedVersion', bytes)),
        ),
      }),
    ),
    kind('cancel', bool),
  ),
);
const request = fc.record({
  operations: fc.array(
    fc.record({ call: u32, timeoutMs: u32, operation, traceparent: fc.string({ unit: 'binary' }) }),
  ),
});

const written = kind('put', fc.record({ version: bytes, timestamp: nat }));
const got = kind('get', fc.record({ found: bool, value: bytes, version: bytes, expiresUnixMs: nat }));
const deleted = kind('delete', fc.record({ existed: bool, version: bytes, timestamp: nat }));
const added = kind('increment', fc.record({ value: delta, version: bytes, timestamp: nat }));
const failed = kind(
  'error',
  fc.record({
    code: fc.string(),
    message: fc.string(),
    retryClass: fc.integer({ min: 0, max: 3 }),
    retryAfterMs: u32,
    field: fc.string(),
    kind: fc.nat(255),
  }),
);
const result = maybe(
  fc.oneof(
    got,
    written,
    deleted,
    added,
    kind(
      'snapshotGet',
      fc.record({
        ...{ timestamp: nat, partial: bool },
        results: few(fc.record({ result: maybe(fc.oneof(got, failed)) })),
      }),
    ),
    kind('getTimestamp', fc.record({ timestamp: nat })),
    kind('commit', fc.record({ timestamp: nat })),
    kind(
      'execute',
      fc.record({
        ...{ succeeded: bool, timestamp: nat, resultsOmitted: bool },
        results: few(fc.record({ result: maybe(fc.oneof(got, written, deleted, added, failed)) })),
      }),
    ),
    kind('reserve', fc.record({ owner: nat, timestamp: nat, skipped: few(u32), newest: nat })),
    kind('release', fc.constant({})),
    kind('expire', fc.record({ existed: bool, version: bytes, timestamp: nat })),
    kind('deleteRange', fc.record({ deleted: nat })),
    kind(
      'compareAndSet',
      fc.record({
        ...{ succeeded: bool, version: bytes, timestamp: nat, found: bool, value: bytes },
        valueOmitted: bool,
        kind: fc.nat(255),
      }),
    ),
    failed,
  ),
);
const response = fc.record({
  results: fc.array(fc.record({ call: u32, result })),
  hello: maybe(
    fc.record({ clusterId: fc.string(), serverVersion: fc.string(), keyBytesMax: u32, valueBytesMax: u32 }),
  ),
  timestamp: nat,
});

describe('the codec of the batch stream', () => {
  it('decodes requests as the generated one does', () => {
    fc.assert(
      fc.property(request, (message) => {
        const encoded = Buffer.from(BatchRequest.encode(message as BatchRequest).finish());
        expect(decodeBatchRequest(encoded)).toEqual(BatchRequest.decode(encoded));
      }),
    );
  });

  it('encodes responses byte for byte as the generated one does', () => {
    fc.assert(
      fc.property(response, (message) => {
        const wanted = Buffer.from(BatchResponse.encode(message as BatchResponse).finish());
        expect(encodeBatchResponse(message as BatchResponse).toString('hex')).toBe(wanted.toString('hex'));
      }),
    );
  });

  it('encodes requests byte for byte as the generated one does', () => {
    fc.assert(
      fc.property(request, (message) => {
        const wanted = Buffer.from(BatchRequest.encode(message as BatchRequest).finish());
        expect(encodeBatchRequest(message as BatchRequest).toString('hex')).toBe(wanted.toString('hex'));
      }),
    );
  });

  it('decodes responses as the generated one does', () => {
    fc.assert(
      fc.property(response, (message) => {
        const encoded = Buffer.from(BatchResponse.encode(message as BatchResponse).finish());
        expect(decodeBatchResponse(encoded)).toEqual(BatchResponse.decode(encoded));
      }),
    );
  });

  it.each([
    ['requests', decodeBatchRequest],
    ['responses', decodeBatchResponse],
  ])('answers garbled %s with INVALID_ARGUMENT, or with something whole', (_what, decode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (input) => {
        try {
          decode(Buffer.from(input));
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('errors over gRPC', () => {
  it.each(['INVALID_ARGUMENT', 'NOT_LEADER', 'OUTCOME_UNKNOWN', 'DISK_FULL', 'INTERNAL'] as ErrorCode[])(
    'brings %s back with its fields',
    (code) => {
      const sent = toServiceError(
        new CairnError(code, 'why', { retryAfterMs: 7, details: { field: 'key' } }),
      );
      expect(sent.code).toBe(grpcStatusOf(code));
      expect(fromServiceError(sent)).toMatchObject({
        code,
        message: 'why',
        retryAfterMs: 7,
        details: { field: 'key' },
      });
    },
  );

  it('tells what a key holds that is of the wrong kind', () => {
    const sent = toServiceError(new CairnError('WRONG_KIND', 'why', { details: { kind: 200 } }));
    expect(fromServiceError(sent)).toMatchObject({ code: 'WRONG_KIND', details: { kind: 200 } });
  });

  it('makes the best of a status without our detail', () => {
    const metadata = new Metadata();
    expect(fromServiceError({ code: 14, details: 'gone', metadata })).toMatchObject({ code: 'UNAVAILABLE' });
    metadata.set('grpc-status-details-bin', Buffer.from([255, 255]));
    expect(fromServiceError({ code: 2, details: 'odd', metadata })).toMatchObject({
      code: 'INTERNAL',
      message: 'odd',
    });
  });
});
