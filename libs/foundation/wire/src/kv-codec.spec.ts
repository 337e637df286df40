import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, timestamp, type Timestamp } from '@cairn/base';
import fc from 'fast-check';
import { newKvRequest, newKvResponse } from './kv-factories.js';
import { encodeScanPage, packRows } from './packed-rows.js';
import { decodeKvCancel, decodeKvRequests, encodeKvCancel, KvRequestEncoder } from './kv-request-codec.js';
import { decodeKvResponses, KvResponseEncoder } from './kv-response-codec.js';
import {
  detachKvRequest,
  IGNORED_LOCKS_MAX,
  KvOp,
  type Expectation,
  type KvError,
  type KvRequest,
  type KvResponse,
  type ReadConsistency,
} from './kv-messages.js';
import { LOCKS_TOLD_MAX } from './txn-codec.js';

const bytes = (maxLength = 40): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((found) => Buffer.from(found));
const large = fc.integer({ min: 4000, max: 4200 }).map((size) => Buffer.alloc(size, size & 255));
const nat = fc.maxSafeNat();
/** Ids fit six bytes. */
const id = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const time = nat.map(timestamp);
const u48 = fc.integer({ min: 1, max: 2 ** 48 - 1 });
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });
const sized = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((found) => Buffer.from(found));

const request: fc.Arbitrary<KvRequest> = fc.record({
  sequence: fc.integer({ min: 1, max: 0xffffffff }),
  op: fc.constantFrom(...Object.values(KvOp)),
  rangeId: nat.map(rangeId),
  epochVersion: nat,
  consistency: fc.integer({ min: 0, max: 2 }) as fc.Arbitrary<ReadConsistency>,
  strict: fc.boolean(),
  reverse: fc.boolean(),
  keysOnly: fc.boolean(),
  timeoutMs: fc.nat(),
  key: bytes(),
  endKey: bytes(),
  value: maybe(fc.oneof(bytes(), large)),
  expectation: fc.integer({ min: 0, max: 3 }) as fc.Arbitrary<Expectation>,
  expected: fc.oneof(bytes(), large),
  delta: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  ttlMs: nat,
  readTimestamp: time,
  ignoreLocks: fc.array(time, { maxLength: 5 }),
  limit: nat,
  pageBytes: fc.nat(),
  requestId: maybe(fc.record({ client: u48, sequence: u48, stamp: time, isRetry: fc.boolean() })),
  trace: maybe(fc.record({ traceId: sized(16), spanId: sized(8) })),
});

const owner = fc.oneof(fc.constant(timestamp(0)), time);
const locks = fc.array(fc.record({ key: bytes(), primary: bytes(), start: time, deadline: time, owner }), {
  maxLength: 4,
});

const error: fc.Arbitrary<KvError> = fc
  .record({
    code: fc.constantFrom('NOT_LEADER' as const, 'EPOCH_MISMATCH' as const, 'LOCKED' as const),
    message: fc.string(),
    retryAfterMs: fc.nat(),
    leaderStoreId: fc.nat().map(storeId),
    isUnclear: fc.boolean(),
    descriptors: fc.array(
      fc.record({
        rangeId: id.map(rangeId),
        startKey: bytes(),
        endKey: bytes(),
        epoch: fc.record({ version: nat, confVersion: nat }),
        replicas: fc.array(
          fc.record({
            replicaId: id.map(replicaId),
            storeId: fc.nat().map(storeId),
            role: fc.constantFrom(
              'voter' as const,
              'learner' as const,
              'incoming' as const,
              'outgoing' as const,
            ),
          }),
        ),
      }),
      { maxLength: 3 },
    ),
    field: fc.string(),
    kind: fc.nat(255),
    locks,
  })
  .map((one) => (one.code === 'LOCKED' ? one : { ...one, locks: [] }));

const expiresUnixMs = fc.oneof(fc.constant(0), fc.maxSafeNat());
const rows = fc.array(
  fc.record({
    key: bytes(),
    value: fc.oneof(bytes(), large),
    version: sized(12),
    kind: fc.nat(255),
    expiresUnixMs,
  }),
  { maxLength: 4 },
);

const response: fc.Arbitrary<KvResponse> = fc.record({
  sequence: fc.integer({ min: 1, max: 0xffffffff }),
  op: fc.constantFrom(...Object.values(KvOp)),
  error: maybe(error),
  found: fc.boolean(),
  succeeded: fc.boolean(),
  value: maybe(fc.oneof(bytes(), large)),
  kind: fc.nat(255),
  version: fc.oneof(sized(12), sized(0)),
  timestamp: time,
  expiresUnixMs,
  number: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  count: nat,
  rows: rows.map(packRows),
  resumeKey: maybe(bytes()),
});

/** Operations that name a timestamp. */
const TIMED: ReadonlySet<KvOp> = new Set([
  KvOp.get,
  KvOp.scan,
  KvOp.txnRead,
  KvOp.txnWrite,
  KvOp.execute,
  KvOp.changes,
  KvOp.reserve,
]);

/** Without the fields that its operation does not carry. */
function trimmed(one: KvRequest): KvRequest {
  const plain = newKvRequest();
  const isSpan = one.op === 6 || one.op === 7;
  return {
    ...one,
    endKey: isSpan ? one.endKey : plain.endKey,
    limit: isSpan ? one.limit : 0,
    pageBytes: one.op === 7 ? one.pageBytes : 0,
    readTimestamp: TIMED.has(one.op) ? one.readTimestamp : plain.readTimestamp,
    expected: one.op === 4 ? one.expected : plain.expected,
    delta: one.op === 5 ? one.delta : '0',
  };
}

/** The rows as they arrive: with what lies behind them. */
function stamped({ rows: { count, bytes: packed }, timestamp: at }: KvResponse): KvResponse['rows'] {
  return at === 0 ? { count, bytes: packed } : { count, bytes: packed, stamp: at };
}

function trimmedResponse(one: KvResponse): KvResponse {
  const plain = newKvResponse(one.sequence, one.op);
  if (one.error !== undefined) return { ...plain, error: one.error };
  return {
    ...one,
    kind: one.op === 4 ? one.kind : 0,
    expiresUnixMs: one.op === 1 ? one.expiresUnixMs : 0,
    number: one.op === 5 ? one.number : plain.number,
    count: one.op === 6 ? one.count : 0,
    rows: one.op === 7 ? stamped(one) : plain.rows,
  };
}

describe('key-value frames', () => {
  it('bring requests back as they were', () => {
    const encoder = new KvRequestEncoder();
    fc.assert(
      fc.property(fc.array(request.map(trimmed), { maxLength: 6 }), (list) => {
        for (const one of list) encoder.add(one);
        expect(encoder.count).toBe(list.length);
        expect(decodeKvRequests(Buffer.concat(encoder.take()))).toEqual(list);
        expect(encoder.count).toBe(0);
      }),
    );
  });

  it('bring responses back as they were', () => {
    const encoder = new KvResponseEncoder();
    fc.assert(
      fc.property(
        fc.array(response.map(trimmedResponse), { maxLength: 6 }),
        time,
        (responses, maxTimestamp) => {
          for (const one of responses) encoder.add(one);
          expect(decodeKvResponses(Buffer.concat(encoder.take(maxTimestamp)))).toEqual({
            maxTimestamp,
            responses,
          });
        },
      ),
    );
  });

  it('carry rows so that the message of a client needs no copy', () => {
    const encoder = new KvResponseEncoder();
    for (const size of [10, 5000]) {
      const row = {
        key: Buffer.from('k'),
        value: Buffer.alloc(size, 7),
        version: Buffer.alloc(12, 1),
        kind: 0,
        expiresUnixMs: 0,
      };
      const one = Object.assign(newKvResponse(7, 7), { timestamp: 2 ** 50, rows: packRows([row]) });
      const wanted = encodeScanPage({ rows: one.rows, timestamp: 2 ** 50 });
      encoder.add(one);
      encoder.add(newKvResponse(8, 2));
      const { responses } = decodeKvResponses(Buffer.concat(encoder.take(timestamp(6))));
      const received = (responses[0] as KvResponse).rows;
      const message = encodeScanPage({ rows: received, timestamp: 2 ** 50 });
      expect(message.buffer).toBe(received.bytes.buffer);
      expect(message.equals(wanted)).toBe(true);
      const stale = encodeScanPage({ rows: received, timestamp: 0 });
      expect(stale.equals(received.bytes)).toBe(true);
    }
  });

  it('bring cancelled sequences back', () => {
    expect(decodeKvCancel(Buffer.concat(encodeKvCancel([1, 0xffffffff])))).toEqual([1, 0xffffffff]);
    expect(() => decodeKvCancel(Buffer.alloc(5))).toThrow('input ends early');
  });

  it('answer garbled input with CORRUPTION, or with something whole, never with another error', () => {
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 3 }),
        fc.nat(),
        fc.nat(255),
        (list, at, flip) => {
          const encoder = new KvRequestEncoder();
          for (const one of list) encoder.add(one);
          const body = Buffer.concat(encoder.take());
          body[at % body.length] = flip;
          for (const garbled of [body, body.subarray(0, at % body.length)]) {
            for (const decode of [decodeKvRequests, decodeKvResponses]) {
              try {
                decode(garbled);
              } catch (thrown) {
                expect(thrown).toMatchObject({ code: 'CORRUPTION' });
              }
            }
          }
        },
      ),
    );
  });

  it('tell of no more locks than anybody can look into, and name no more to pass over', () => {
    const [start, deadline] = [timestamp(5), timestamp(6)];
    const lock = { key: Buffer.from('k'), primary: Buffer.from('p'), start, deadline, owner: timestamp(0) };
    const refusal: KvError = {
      code: 'LOCKED',
      message: '',
      retryAfterMs: 0,
      leaderStoreId: storeId(0),
      descriptors: [],
      field: '',
      kind: 0,
      isUnclear: false,
      locks: new Array<typeof lock>(LOCKS_TOLD_MAX + 10).fill(lock),
    };
    const responses = new KvResponseEncoder();
    responses.add({ ...newKvResponse(1, KvOp.put), error: refusal });
    const told = decodeKvResponses(Buffer.concat(responses.take(timestamp(0)))).responses[0];
    expect(told?.error?.locks).toHaveLength(LOCKS_TOLD_MAX);
    const requests = new KvRequestEncoder();
    const tooMany = new Array<Timestamp>(IGNORED_LOCKS_MAX + 1).fill(timestamp(1));
    expect(() => {
      requests.add({ ...newKvRequest(), ignoreLocks: tooMany });
    }).toThrow('passes over few locks');
  });

  it('keep their layout', () => {
    const requests = new KvRequestEncoder();
    const put = newKvRequest();
    Object.assign(put, { sequence: 7, op: 2, rangeId: 3, epochVersion: 1, timeoutMs: 100 });
    Object.assign(put, { key: Buffer.from('k'), value: Buffer.from('v') });
    requests.add(put);
    expect(Buffer.concat(requests.take()).toString('hex')).toBe('07000000024000030164016b0176');
    const responses = new KvResponseEncoder();
    responses.add(Object.assign(newKvResponse(7, 2), { timestamp: 5 }));
    const wanted = '0600000000000000' + '070000000200' + '0500000000000000';
    expect(Buffer.concat(responses.take(timestamp(6))).toString('hex')).toBe(wanted);
    const get = newKvRequest();
    Object.assign(get, { sequence: 7, rangeId: 3, epochVersion: 1, timeoutMs: 100, key: Buffer.from('k') });
    get.ignoreLocks = [timestamp(9)];
    requests.add(get);
    expect(Buffer.concat(requests.take()).toString('hex')).toBe(
      '0700000001001003016401' + '6b' + '010900000000000000' + '0000000000000000',
    );
  });
});

describe('a request that has to wait', () => {
  const frame = Buffer.alloc(1024 * 1024, 'x');
  const requestOf = (valueBytes: number): KvRequest => ({
    ...newKvRequest(),
    key: frame.subarray(1, 4),
    endKey: frame.subarray(4, 6),
    expected: frame.subarray(6, 7),
    value: frame.subarray(10, 10 + valueBytes),
  });

  it('keeps its own bytes, and not the frame that it came in', () => {
    const request = requestOf(5);
    detachKvRequest(request);
    expect(request).toEqual(requestOf(5));
    for (const { buffer } of [request.key, request.endKey, request.expected, request.value as Uint8Array])
      expect(buffer.byteLength).toBeLessThanOrEqual(64 * 1024);
  });

  it('is not copied when it is most of its frame, or when that is small', () => {
    const large = requestOf(512 * 1024);
    detachKvRequest(large);
    expect(large.key.buffer).toBe(frame.buffer);
    const small = { ...newKvRequest(), key: Buffer.from(new Uint8Array(4_096).buffer, 9, 1) };
    const { buffer } = small.key;
    detachKvRequest(small);
    expect(small.key.buffer).toBe(buffer);
  });
});
