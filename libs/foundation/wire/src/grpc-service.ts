import { ClusterService } from './gen/cairn/v1/cluster.js';
import { KVService } from './gen/cairn/v1/kv.js';
import { TxnService } from './gen/cairn/v1/txn.js';
import { WatchService } from './gen/cairn/v1/watch.js';
import { decodeBatchRequest } from './grpc-batch-request.js';
import { encodeBatchResponse } from './grpc-batch-response.js';
import { boundedDecoder, ELEMENTS_MAX, FLAT, type MessageShape } from './grpc-message-bounds.js';
import { EXECUTE, flatAt, TXN_GET } from './grpc-shapes.js';
import { encodeWatchMessage } from './grpc-watch.js';
import { encodeScanPage } from './packed-rows.js';

/** Split keys of one call: each may move data, and each is a request to the metadata service. */
export const SPLIT_KEYS_MAX = 1_000;

/** Their request ids. */
const PUT = flatAt(5);
const DELETE = flatAt(3);
const COMPARE_AND_SET = flatAt(8);
const INCREMENT = flatAt(4);
const EXPIRE = flatAt(4);
const WRITE: MessageShape = {
  nested: new Map([
    [1, PUT],
    [2, DELETE],
    [3, COMPARE_AND_SET],
    [4, INCREMENT],
    [5, EXPIRE],
  ]),
};
const BATCH_GET: MessageShape = { elements: { field: 1, name: 'keys', max: ELEMENTS_MAX } };
const BATCH_WRITE: MessageShape = {
  elements: { field: 1, name: 'operations', max: ELEMENTS_MAX, shape: WRITE },
};
const SPLIT_RANGES: MessageShape = { elements: { field: 1, name: 'keys', max: SPLIT_KEYS_MAX } };

/** Settings of one call, besides the first. */
const SETTINGS_MORE_MAX = 99;
const PUT_SETTING: MessageShape = {
  elements: { field: 3, name: 'more', max: SETTINGS_MORE_MAX, shape: FLAT },
};

interface Method<Request> {
  readonly requestDeserialize: (bytes: Buffer) => Request;
}

/** The method with a decoder that is safe to give anything: see `boundedDecoder`. */
function bounded<Request, M extends Method<Request>>(method: M, shape: MessageShape = FLAT): M {
  return { ...method, requestDeserialize: boundedDecoder(method.requestDeserialize, shape) };
}

/**
 * The public service for `Server.addService`: the generated definition with bounded decoders, and
 * hand-written codecs on the streams. Decoders throw INVALID_ARGUMENT and nothing else.
 */
export const kvServiceDefinition = {
  get: bounded(KVService.get),
  put: bounded(KVService.put, PUT),
  delete: bounded(KVService.delete, DELETE),
  deleteRange: bounded(KVService.deleteRange),
  compareAndSet: bounded(KVService.compareAndSet, COMPARE_AND_SET),
  increment: bounded(KVService.increment, INCREMENT),
  expire: bounded(KVService.expire, EXPIRE),
  batchGet: bounded(KVService.batchGet, BATCH_GET),
  batchWrite: bounded(KVService.batchWrite, BATCH_WRITE),
  getTimestamp: bounded(KVService.getTimestamp),
  scan: {
    ...bounded(KVService.scan),
    responseSerialize: encodeScanPage,
  },
  batch: {
    ...KVService.batch,
    requestDeserialize: decodeBatchRequest,
    responseSerialize: encodeBatchResponse,
  },
} as const;

/** The same for transactions that routers keep. */
export const txnServiceDefinition = {
  begin: bounded(TxnService.begin),
  get: bounded(TxnService.get, TXN_GET),
  getForUpdate: bounded(TxnService.getForUpdate, TXN_GET),
  scan: {
    ...bounded(TxnService.scan),
    responseSerialize: encodeScanPage,
  },
  put: bounded(TxnService.put),
  delete: bounded(TxnService.delete),
  increment: bounded(TxnService.increment),
  savepoint: bounded(TxnService.savepoint),
  rollbackTo: bounded(TxnService.rollbackTo),
  commit: bounded(TxnService.commit),
  rollback: bounded(TxnService.rollback),
  execute: bounded(TxnService.execute, EXECUTE),
} as const;

/** The same for change streams. */
export const watchServiceDefinition = {
  watch: {
    ...bounded(WatchService.watch),
    responseSerialize: encodeWatchMessage,
  },
} as const;

/** The same for the service that looks at the cluster and steers it. */
export const clusterServiceDefinition = {
  status: bounded(ClusterService.status),
  listNodes: bounded(ClusterService.listNodes),
  listRanges: bounded(ClusterService.listRanges),
  splitRanges: bounded(ClusterService.splitRanges, SPLIT_RANGES),
  listEngines: bounded(ClusterService.listEngines),
  compactEngine: bounded(ClusterService.compactEngine),
  debug: bounded(ClusterService.debug),
  listSettings: bounded(ClusterService.listSettings),
  putSetting: bounded(ClusterService.putSetting, PUT_SETTING),
  listHolds: bounded(ClusterService.listHolds),
  putHold: bounded(ClusterService.putHold),
  deleteHold: bounded(ClusterService.deleteHold),
} as const;

/** Calls that change something: when one breaks off, nobody can tell whether it has. */
const WRITES: ReadonlySet<string> = new Set([
  KVService.put.path,
  KVService.delete.path,
  KVService.deleteRange.path,
  KVService.compareAndSet.path,
  KVService.increment.path,
  KVService.expire.path,
  KVService.batchWrite.path,
  TxnService.commit.path,
  TxnService.execute.path,
  ClusterService.splitRanges.path,
  ClusterService.compactEngine.path,
  ClusterService.putSetting.path,
  ClusterService.putHold.path,
  ClusterService.deleteHold.path,
]);

export function isWritingCall(path: string): boolean {
  return WRITES.has(path);
}
