import { rangeId, timestamp, type MicroBenchmark } from '@cairn/base';
import { newKvRequest, newKvResponse } from './kv-factories.js';
import { KvOp, type KvRequest, type KvResponse } from './kv-messages.js';
import { decodeKvRequests, KvRequestEncoder } from './kv-request-codec.js';
import { decodeKvResponses, KvResponseEncoder } from './kv-response-codec.js';

/** Operations in a frame, as in a busy session. */
const OPERATIONS = 64;
const VALUE = Buffer.alloc(256, 'v');

function putRequest(sequence: number): KvRequest {
  return {
    ...newKvRequest(),
    sequence,
    op: KvOp.put,
    rangeId: rangeId(7),
    epochVersion: 3,
    timeoutMs: 10_000,
    key: Buffer.from(`k${String(sequence).padStart(15, '0')}`),
    value: VALUE,
    requestId: { client: 81_985_529_216_486, sequence, stamp: timestamp(1_700_000_000_000), isRetry: false },
  };
}

function putResponse(sequence: number): KvResponse {
  return {
    ...newKvResponse(sequence, KvOp.put),
    succeeded: true,
    version: Buffer.alloc(12, 1),
    timestamp: timestamp(1_700_000_000_000),
  };
}

/** Frames of puts between a router and a shard node. */
export function benchmarks(): MicroBenchmark[] {
  const requests = Array.from({ length: OPERATIONS }, (_, at) => putRequest(at + 1));
  const responses = Array.from({ length: OPERATIONS }, (_, at) => putResponse(at + 1));
  const requestEncoder = new KvRequestEncoder();
  const responseEncoder = new KvResponseEncoder();
  const encodeRequests = (): readonly Uint8Array[] => {
    for (const each of requests) requestEncoder.add(each);
    return requestEncoder.take();
  };
  const encodeResponses = (): readonly Uint8Array[] => {
    for (const each of responses) responseEncoder.add(each);
    return responseEncoder.take(timestamp(1_700_000_000_000));
  };
  const requestFrame = Buffer.concat(encodeRequests());
  const responseFrame = Buffer.concat(encodeResponses());
  return [
    { name: 'encode put requests', operations: OPERATIONS, run: encodeRequests },
    { name: 'decode put requests', operations: OPERATIONS, run: () => decodeKvRequests(requestFrame) },
    { name: 'encode put responses', operations: OPERATIONS, run: encodeResponses },
    { name: 'decode put responses', operations: OPERATIONS, run: () => decodeKvResponses(responseFrame) },
  ];
}
