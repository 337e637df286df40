import { CairnError, KEY_BYTES_LIMIT_MAX } from '@cairn/base';

import * as metadata from './gen/cairn/internal/v1/metadata.js';
import * as shard from './gen/cairn/internal/v1/shard.js';
import { RANGE_MEMBERS_MAX } from './descriptor-codec.js';
import { MESSAGE_BYTES_MAX } from './frame-limits.js';
import {
  checkShape,
  FIELDS_MAX,
  FLAT,
  type MessageShape,
  type RepeatedField,
} from './grpc-message-bounds.js';
import type { RpcMethod } from './session-types.js';
import { LOCKS_TOLD_MAX } from './txn-codec.js';

/** Ranges that a store may tell of at once. */
export const REPORTED_RANGES_MAX = 200_000;
/** Keys that may be asked for at once, and keys to cut at. */
export const RPC_KEYS_MAX = 1_000;
/** Starts that a directory shows. */
const STARTS_MAX = 64;
/** Settings that are changed at once, besides the first. */
const SETTINGS_MORE_MAX = 99;
/** Waits for locks that a router reports at once. */
export const LOCK_WAITS_MAX = 4_096;
/** Owners of locks that one wait, or one circle of waits, names. */
export const LOCK_OWNERS_MAX = 64;
/** Levels that a node tells of its engine. */
export const ENGINE_LEVELS_MAX = 64;
/** Transactions that a question for overdue locks leaves out. */
export const IGNORED_STARTS_MAX = 1_024;
/** Longest name of an engine. */
export const ENGINE_NAME_CHARS_MAX = 63;
/** Longest text for people, in characters of at most three bytes. */
export const DEBUG_TEXT_CHARS_MAX = 1024 * 1024;

/**
 * What an answer lists at most: nodes, and what is said of them. With room: this release registers 4,096
 * stores, hears as many routers, tells of a hundred removals at a time; a later one may do more, and is asked
 * by this one during an upgrade.
 */
const LISTED_MAX = 16_384;

const membersAt = (name: string): { name: string; max: number; isPacked: true } => ({
  name,
  max: RANGE_MEMBERS_MAX,
  isPacked: true,
});
const ownersAt = (name: string): RepeatedField & { field: number } => ({
  ...{ field: 2, name },
  ...{ max: LOCK_OWNERS_MAX, isPacked: true },
});
const DESCRIPTOR: MessageShape = {
  elements: { field: 6, name: 'replicas', max: RANGE_MEMBERS_MAX, shape: FLAT },
};
const REPORT: MessageShape = {
  nested: new Map([[1, DESCRIPTOR]]),
  more: new Map([
    [6, membersAt('live_replica_ids')],
    [7, membersAt('lagging_replica_ids')],
  ]),
};
const HEARTBEAT: MessageShape = {
  elements: { field: 5, name: 'ranges', max: REPORTED_RANGES_MAX, shape: REPORT },
  more: new Map([
    [6, { name: 'removed_range_ids', max: REPORTED_RANGES_MAX, isPacked: true }],
    [20, { name: 'waiting_replicas', max: REPORTED_RANGES_MAX, shape: FLAT }],
  ]),
};
const JOIN: MessageShape = { elements: { field: 10, name: 'offered_starts', max: STARTS_MAX } };
const ROUTES: MessageShape = { elements: { field: 1, name: 'keys', max: RPC_KEYS_MAX } };
const PUT_SETTING: MessageShape = {
  elements: { field: 3, name: 'more', max: SETTINGS_MORE_MAX, shape: FLAT },
};
const WAITS: MessageShape = {
  elements: {
    field: 1,
    name: 'waits',
    max: LOCK_WAITS_MAX,
    shape: { elements: ownersAt('holders') },
  },
};
const SPLIT: MessageShape = { elements: { field: 3, name: 'keys', max: RPC_KEYS_MAX } };

/** What an answer is, at most, to be decoded. */
interface AnswerBounds {
  readonly shape: MessageShape;
  readonly bytesMax: number;
}

/** Numbers, an id, a sentence: with much room for what later releases add. */
const SMALL: AnswerBounds = { shape: FLAT, bytesMax: 64 * 1024 };
const listing = (shape: MessageShape): AnswerBounds => ({ shape, bytesMax: MESSAGE_BYTES_MAX });

const listOf = (name: string, shape = FLAT): RepeatedField => ({ name, max: LISTED_MAX, shape });
const sentences = (name: string): RepeatedField => ({ name, max: LISTED_MAX });
const COMMAND: MessageShape = {
  nested: new Map([
    [1, DESCRIPTOR],
    [2, DESCRIPTOR],
    [3, FLAT],
  ]),
};
const ROUTE: MessageShape = { nested: new Map([[1, DESCRIPTOR]]) };
const NODE: MessageShape = { nested: new Map([[17, FLAT]]) };

const JOINED = listing({ elements: { field: 4, ...listOf('stores') } });
const HEARD = listing({
  elements: { field: 2, ...listOf('stores') },
  more: new Map([
    [3, listOf('commands', COMMAND)],
    [5, listOf('settings')],
    [11, { name: 'old_lock_store_ids', max: LISTED_MAX, isPacked: true }],
  ]),
});
const FOUND = listing({
  elements: { field: 1, ...listOf('routes', ROUTE) },
  more: new Map([[2, listOf('stores')]]),
});
const STATUS = listing({
  elements: { field: 2, ...listOf('nodes', NODE) },
  more: new Map([
    [7, sentences('problems')],
    [8, sentences('unsettled')],
    [11, sentences('upgrade_waits')],
  ]),
});
const LISTED_HOLDS = listing({ elements: { field: 1, ...listOf('holds') } });
const LISTED_SETTINGS = listing({ elements: { field: 1, ...listOf('settings') } });
const ENGINE: AnswerBounds = {
  ...SMALL,
  shape: {
    elements: { field: 3, name: 'levels', max: ENGINE_LEVELS_MAX, shape: FLAT },
    nested: new Map([[9, FLAT]]),
  },
};
const IGNORED: MessageShape = {
  more: new Map([[1, { name: 'ignored_starts', max: IGNORED_STARTS_MAX, isPacked: true }]]),
};
/** A lock names two keys. */
const OVERDUE: AnswerBounds = {
  bytesMax: LOCKS_TOLD_MAX * (2 * KEY_BYTES_LIMIT_MAX + 64) + SMALL.bytesMax,
  shape: { elements: { field: 1, name: 'locks', max: LOCKS_TOLD_MAX, shape: FLAT } },
};
const TEXT: AnswerBounds = { ...SMALL, bytesMax: SMALL.bytesMax + 3 * DEBUG_TEXT_CHARS_MAX };

const VICTIMS = listing({
  elements: { field: 1, ...listOf('victims', { elements: ownersAt('cycle') }) },
});

interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

/** A field has two bytes at least: so short a message has no more of them than any may have. */
const SURELY_FEW_FIELDS_BYTES = 2 * FIELDS_MAX;

/**
 * A method of a generated service. Requests and answers are looked over before they are decoded: whoever
 * connects may send a request, and any store may be asked; a frame of two-byte elements would cost the node
 * that decodes it its memory. Decoders of answers throw INVALID_ARGUMENT as those of requests do.
 */
function method<Request, Response>(
  name: string,
  request: Codec<Request>,
  response: Codec<Response>,
  { asked = FLAT, answered = SMALL }: { asked?: MessageShape; answered?: AnswerBounds } = {},
): RpcMethod<Request, Response> {
  return {
    name,
    encodeRequest: (message) => request.encode(message).finish(),
    decodeRequest: (bytes) => {
      checkShape(bytes, asked);
      return request.decode(bytes);
    },
    encodeResponse: (message) => response.encode(message).finish(),
    decodeResponse: (bytes) => {
      // Timestamps are asked for all the time: their answers pass by their length alone.
      if (bytes.length > SURELY_FEW_FIELDS_BYTES) checkAnswer(bytes, answered);
      return response.decode(bytes);
    },
  };
}

function checkAnswer(bytes: Uint8Array, { shape, bytesMax }: AnswerBounds): void {
  if (bytes.length > bytesMax) {
    throw new CairnError('INVALID_ARGUMENT', `it has ${bytes.length} bytes; the limit is ${bytesMax}`);
  }
  checkShape(bytes, shape);
}

const META = `${metadata.protobufPackage}.Metadata`;
const SHARD = `${shard.protobufPackage}.Shard`;

/** What nodes ask of the metadata service. */
export const MetadataRpc = {
  join: method(`${META}/Join`, metadata.JoinRequest, metadata.JoinResponse, {
    asked: JOIN,
    answered: JOINED,
  }),
  heartbeat: method(`${META}/Heartbeat`, metadata.HeartbeatRequest, metadata.HeartbeatResponse, {
    asked: HEARTBEAT,
    answered: HEARD,
  }),
  leave: method(`${META}/Leave`, metadata.LeaveRequest, metadata.LeaveResponse),
  allocateIds: method(`${META}/AllocateIds`, metadata.AllocateIdsRequest, metadata.AllocateIdsResponse),
  getTimestamps: method(
    `${META}/GetTimestamps`,
    metadata.GetTimestampsRequest,
    metadata.GetTimestampsResponse,
  ),
  getRoutes: method(`${META}/GetRoutes`, metadata.GetRoutesRequest, metadata.GetRoutesResponse, {
    asked: ROUTES,
    answered: FOUND,
  }),
  getStatus: method(`${META}/GetStatus`, metadata.GetStatusRequest, metadata.GetStatusResponse, {
    answered: STATUS,
  }),
  getSettings: method(`${META}/GetSettings`, metadata.GetSettingsRequest, metadata.GetSettingsResponse, {
    answered: LISTED_SETTINGS,
  }),
  putSetting: method(`${META}/PutSetting`, metadata.PutSettingRequest, metadata.PutSettingResponse, {
    asked: PUT_SETTING,
  }),
  listHolds: method(`${META}/ListHolds`, metadata.ListHoldsRequest, metadata.ListHoldsResponse, {
    answered: LISTED_HOLDS,
  }),
  putHold: method(`${META}/PutHold`, metadata.PutHoldRequest, metadata.PutHoldResponse, {
    answered: { ...SMALL, shape: { nested: new Map([[1, FLAT]]) } },
  }),
  deleteHold: method(`${META}/DeleteHold`, metadata.DeleteHoldRequest, metadata.DeleteHoldResponse),
  reportWaits: method(`${META}/ReportWaits`, metadata.ReportWaitsRequest, metadata.ReportWaitsResponse, {
    asked: WAITS,
    answered: VICTIMS,
  }),
} as const;

/** What routers and operators ask of one shard node. */
export const ShardRpc = {
  splitRange: method(`${SHARD}/SplitRange`, shard.SplitRangeRequest, shard.SplitRangeResponse, {
    asked: SPLIT,
  }),
  transferLeader: method(
    `${SHARD}/TransferLeader`,
    shard.TransferLeaderRequest,
    shard.TransferLeaderResponse,
  ),
  changeReplicas: method(
    `${SHARD}/ChangeReplicas`,
    shard.ChangeReplicasRequest,
    shard.ChangeReplicasResponse,
  ),
  engineStats: method(`${SHARD}/EngineStats`, shard.EngineStatsRequest, shard.EngineStatsResponse, {
    answered: ENGINE,
  }),
  compactEngine: method(`${SHARD}/CompactEngine`, shard.CompactEngineRequest, shard.CompactEngineResponse),
  overdueLocks: method(`${SHARD}/OverdueLocks`, shard.OverdueLocksRequest, shard.OverdueLocksResponse, {
    asked: IGNORED,
    answered: OVERDUE,
  }),
  debug: method(`${SHARD}/Debug`, shard.DebugRequest, shard.DebugResponse, { answered: TEXT }),
} as const;
