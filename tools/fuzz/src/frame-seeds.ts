import type { LogIndex, RangeId, ReplicaId, StoreId, Term } from '@cairn/base';
import { timestamp } from '@cairn/base';
import type { Message } from '@cairn/raft';
import { ENTRY_HEADER_BYTES, entryFromRecord, entryRecord, PAYLOAD_LENGTH_AT } from '@cairn/raft-log';
import { encodeStoreHeartbeat, RaftMessageEncoder } from '@cairn/raft-wire';
import {
  ConditionKind,
  createRpcClient,
  CHANGES_BYTES_MIN,
  encodeChangesRequest,
  encodeExecute,
  encodeReservation,
  encodeTxnRead,
  encodeTxnWrite,
  ExecuteOp,
  FrameType,
  KvOp,
  KvRequestEncoder,
  LockOp,
  LockPolicy,
  LockStrength,
  MetadataRpc,
  newKvRequest,
  ShardRpc,
  type ExecuteCommand,
  type KvRequest,
  type Purpose,
  type ReservationCommand,
  type RpcMethod,
  type TxnReadCommand,
  type TxnWriteCommand,
} from '@cairn/wire';
import type { Clock } from '@cairn/ports';

/** A frame as an honest peer would make it, to begin from. */
export interface FrameSeed {
  readonly type: FrameType;
  readonly body: Buffer;
}

/** What an honest peer might send on a session of this purpose, to a shard node and to a metadata member. */
export type FrameSeeds = Readonly<Record<Purpose, readonly FrameSeed[]>>;

/**
 * Keys of the fuzzer: all in the first range, far below those of the bystander, which has a range of its own.
 * Mutated requests are valid now and then, and a valid deletion deletes.
 */
const KEY = Buffer.from('a-fuzzed-key');

export function frameSeeds(clock: Clock, rangeId: RangeId): FrameSeeds {
  const rpc = [...metadataCalls(clock), ...shardCalls(clock, rangeId)];
  return {
    rpc,
    kv: [...kvFrames(rangeId), { type: FrameType.kvCancel, body: Buffer.from([1, 0, 0, 0]) }],
    raft: [...raftFrames(rangeId), ...heartbeats(rangeId)],
    bulk: [FrameType.snapshotBegin, FrameType.snapshotChunk, FrameType.snapshotEnd].map((type) => ({
      type,
      body: Buffer.concat([Buffer.alloc(16, 1), KEY, Buffer.alloc(32, 0)]),
    })),
  };
}

function kvFrames(rangeId: RangeId): FrameSeed[] {
  const base = { sequence: 1, rangeId, epochVersion: 1, timeoutMs: 1_000, key: KEY };
  const requestId = { client: 7, sequence: 9, stamp: timestamp(1), isRetry: false };
  const requests: Partial<KvRequest>[] = [
    { op: KvOp.get },
    { op: KvOp.put, value: Buffer.from('value'), ttlMs: 1_000, requestId },
    { op: KvOp.delete, requestId },
    { op: KvOp.compareAndSet, value: Buffer.from('new'), expectation: 2, expected: Buffer.from('old') },
    { op: KvOp.increment, delta: '-12', requestId },
    { op: KvOp.expire, ttlMs: 1_000, requestId },
    { op: KvOp.deleteRange, endKey: Buffer.from('a-fuzzed-kez'), limit: 10 },
    { op: KvOp.scan, endKey: Buffer.from('b'), limit: 100, pageBytes: 65_536 },
    { op: KvOp.changes, value: questionForChanges(rangeId) },
    ...transactionRequests(requestId),
  ];
  const encoder = new KvRequestEncoder();
  const one = requests.map((request) => {
    encoder.add({ ...newKvRequest(), ...base, ...request });
    return { type: FrameType.kvRequests, body: Buffer.concat(encoder.take()) };
  });
  for (const [at, request] of requests.entries()) {
    encoder.add({ ...newKvRequest(), ...base, ...request, sequence: at + 1 });
  }
  return [...one, { type: FrameType.kvRequests, body: Buffer.concat(encoder.take()) }];
}

function questionForChanges(rangeId: RangeId): Buffer {
  return encodeChangesRequest({
    ...{ start: KEY, end: Buffer.from('a-fuzzed-kez'), after: timestamp(1), index: 5, rangeId },
    ...{ resume: Buffer.alloc(0), withPrevious: true, waitMs: 50, bytesMax: CHANGES_BYTES_MIN },
  });
}

/** One of each command; what they lock is rolled back by the next ones, or when its time is over. */
function transactionRequests(requestId: KvRequest['requestId']): Partial<KvRequest>[] {
  const [start, commit] = [timestamp(2), timestamp(3)];
  const nothing = { key: KEY, value: Buffer.alloc(0), ttlMs: 0, delta: '0' };
  const mutations = [{ key: KEY, op: LockOp.put, value: Buffer.from('value'), ttlMs: 1_000 }];
  const spans = [{ start: KEY, end: Buffer.from('a-fuzzed-kez') }];
  const reads: TxnReadCommand[] = [
    { type: 'batchGet', at: commit, keys: [KEY] },
    { type: 'validate', start, commit, keys: [KEY], spans },
  ];
  const writes: TxnWriteCommand[] = [
    { type: 'prewrite', start, primary: KEY, lockTtlMs: 10, mutations, owner: commit },
    { type: 'heartbeat', start, primary: KEY, lockTtlMs: 10 },
    { type: 'check', start, primary: KEY, pushTo: commit, lockDeadline: commit },
    { type: 'commit', start, commit, primary: KEY, keys: [] },
    { type: 'resolve', start, commit: timestamp(0), keys: [KEY] },
  ];
  const reservations: ReservationCommand[] = [
    {
      ...{ type: 'reserve', owner: start, strength: LockStrength.share, keys: [KEY] },
      ...{ waitMs: 10, policy: LockPolicy.wait, ttlMs: 10 },
    },
    { type: 'release', owner: start, keys: [KEY] },
  ];
  const execute: ExecuteCommand = {
    ...{ type: 'execute', start, reads: [KEY], checksWrites: true, owner: commit },
    conditions: [{ key: KEY, kind: ConditionKind.exists, operand: Buffer.alloc(0) }],
    then: [
      { ...nothing, op: ExecuteOp.put, value: Buffer.from('value') },
      { ...nothing, op: ExecuteOp.increment, delta: '5' },
      { ...nothing, op: ExecuteOp.get },
    ],
    otherwise: [{ ...nothing, op: ExecuteOp.delete }],
  };
  return [
    ...reads.map((command) => ({ op: KvOp.txnRead, value: encodeTxnRead(command) })),
    ...writes.map((command) => ({ op: KvOp.txnWrite, value: encodeTxnWrite(command) })),
    { op: KvOp.execute, value: encodeExecute(execute), requestId },
    ...reservations.map((command) => ({ op: KvOp.reserve, value: encodeReservation(command) })),
    { op: KvOp.get, ignoreLocks: [start] },
  ].map((request) => ({ ...request, readTimestamp: commit }));
}

function raftFrames(rangeId: RangeId): FrameSeed[] {
  const base = { from: 2 as ReplicaId, to: 1 as ReplicaId, term: 3 as Term };
  const index = 9 as LogIndex;
  const messages: Message[] = [
    { ...base, type: 'pre-vote', lastIndex: index, lastTerm: base.term, transfer: false },
    { ...base, type: 'vote', lastIndex: index, lastTerm: base.term, transfer: true },
    { ...base, type: 'vote-response', granted: true },
    {
      ...{ ...base, type: 'append', previousIndex: index, previousTerm: base.term, commit: index },
      ...{ entries: [], sentAtMs: 5 },
    },
    {
      ...{ ...base, type: 'append-response', index, rejected: false, hintIndex: index },
      ...{ hintTerm: base.term, sentAtMs: 5 },
    },
    { ...base, type: 'heartbeat', commit: index, readContext: 1, sentAtMs: 5 },
    { ...base, type: 'heartbeat-response', readContext: 1, sentAtMs: 5 },
    { ...base, type: 'timeout-now' },
    { ...base, type: 'read-index', context: 1 },
    { ...base, type: 'read-index-response', context: 1, index, refused: false },
  ];
  const encoder = new RaftMessageEncoder({
    headerBytes: ENTRY_HEADER_BYTES,
    payloadLengthAt: PAYLOAD_LENGTH_AT,
    record: entryRecord,
    entry: entryFromRecord,
  });
  return messages.flatMap((message) =>
    [undefined, { startKey: KEY, confVersion: 1 }].map((hint) => {
      encoder.add(rangeId, message, hint);
      return { type: FrameType.raftMessages, body: Buffer.concat(encoder.take()) };
    }),
  );
}

function heartbeats(rangeId: RangeId): FrameSeed[] {
  const led = { rangeId, term: 3 as Term };
  const body = encodeStoreHeartbeat({
    generation: 1,
    sentAtMs: 5,
    echoSentAtMs: 4,
    ended: [rangeId],
    answers: [{ ...led, round: 1, isSupporting: true }],
    released: [led],
    asks: [{ ...led, round: 2 }],
    commits: [{ ...led, commit: (2 ** 40) as LogIndex }],
  });
  return [{ type: FrameType.storeHeartbeat, body }];
}

/** The frame of a call, as the calling half of a session makes it. */
function callFrame<Request, Response>(
  clock: Clock,
  method: RpcMethod<Request, Response>,
  request: Request,
): FrameSeed {
  let frame: FrameSeed | undefined;
  const session = {
    isClosed: false,
    remoteAddress: 'nobody',
    send: (type: FrameType, parts: readonly Uint8Array[]): boolean => {
      frame ??= { type, body: Buffer.concat(parts) };
      return true;
    },
  };
  const client = createRpcClient(session, { clock });
  // Nobody answers; only the frame is wanted.
  client.call(method, request, { timeoutMs: 1 }).catch(() => undefined);
  return frame ?? { type: FrameType.rpcRequest, body: Buffer.alloc(0) };
}

function metadataCalls(clock: Clock): FrameSeed[] {
  const incarnation = Buffer.alloc(16, 9);
  const decoded = <Request, Response>(method: RpcMethod<Request, Response>, fields: object): FrameSeed =>
    callFrame(clock, method, { ...method.decodeRequest(new Uint8Array(0)), ...fields });
  return [
    decoded(MetadataRpc.join, { name: 'fuzzed', kind: 2, incarnation, address: '127.0.0.1:1' }),
    decoded(MetadataRpc.heartbeat, { name: 'fuzzed', storeId: 77, incarnation, full: true, sequence: 1 }),
    decoded(MetadataRpc.leave, { name: 'fuzzed', incarnation }),
    decoded(MetadataRpc.allocateIds, { count: 1 }),
    decoded(MetadataRpc.getTimestamps, { count: 1 }),
    decoded(MetadataRpc.getRoutes, { keys: [KEY], fromKey: KEY, limit: 10 }),
    decoded(MetadataRpc.getStatus, {}),
    decoded(MetadataRpc.getSettings, {}),
    decoded(MetadataRpc.putSetting, { name: 'no.such_setting', value: '1' }),
    decoded(MetadataRpc.listHolds, {}),
    decoded(MetadataRpc.putHold, { name: 'fuzzed', timestamp: 1, ttlMs: 0, reason: 'fuzz' }),
    decoded(MetadataRpc.deleteHold, { name: 'fuzzed' }),
    decoded(MetadataRpc.reportWaits, { waits: [{ waiter: 2, holders: [1] }] }),
  ];
}

function shardCalls(clock: Clock, rangeId: RangeId): FrameSeed[] {
  const decoded = <Request, Response>(method: RpcMethod<Request, Response>, fields: object): FrameSeed =>
    callFrame(clock, method, { ...method.decodeRequest(new Uint8Array(0)), ...fields });
  return [
    decoded(ShardRpc.splitRange, { rangeId: rangeId + 1_000 }),
    decoded(ShardRpc.transferLeader, { rangeId: rangeId + 1_000 }),
    decoded(ShardRpc.changeReplicas, { rangeId: rangeId + 1_000 }),
  ];
}

/** Ids that a liar may claim: none of ours, and all of ours. */
export const CLAIMED_STORE_IDS: readonly StoreId[] = [0, 1, 2, 3, 99, 0xffffffff].map((id) => id as StoreId);
