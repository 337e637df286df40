import * as metadata from './gen/cairn/internal/v1/metadata.js';
import * as shard from './gen/cairn/internal/v1/shard.js';
import { RANGE_MEMBERS_MAX } from './descriptor-codec.js';
import { checkShape, FLAT, type MessageShape } from './grpc-message-bounds.js';
import type { RpcMethod } from './session-types.js';

/** Ranges that a store may tell of at once. */
export const REPORTED_RANGES_MAX = 200_000;
/** Keys that may be asked for at once, and keys to cut at. */
export const RPC_KEYS_MAX = 1_000;
/** Starts that a directory shows. */
const STARTS_MAX = 64;
/** Settings that are changed at once, besides the first. */
const SETTINGS_MORE_MAX = 99;

const membersAt = (name: string): { name: string; max: number; isPacked: true } => ({
  name,
  max: RANGE_MEMBERS_MAX,
  isPacked: true,
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
const SPLIT: MessageShape = { elements: { field: 3, name: 'keys', max: RPC_KEYS_MAX } };

interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

/**
 * A method of a generated service. Requests are looked over before they are decoded: whoever connects may
 * send one, and a frame of two-byte elements would cost the node that decodes it its memory.
 */
function method<Request, Response>(
  name: string,
  request: Codec<Request>,
  response: Codec<Response>,
  shape = FLAT,
): RpcMethod<Request, Response> {
  return {
    name,
    encodeRequest: (message) => request.encode(message).finish(),
    decodeRequest: (bytes) => {
      checkShape(bytes, shape);
      return request.decode(bytes);
    },
    encodeResponse: (message) => response.encode(message).finish(),
    decodeResponse: (bytes) => response.decode(bytes),
  };
}

const META = `${metadata.protobufPackage}.Metadata`;
const SHARD = `${shard.protobufPackage}.Shard`;

/** What nodes ask of the metadata service. */
export const MetadataRpc = {
  join: method(`${META}/Join`, metadata.JoinRequest, metadata.JoinResponse, JOIN),
  heartbeat: method(`${META}/Heartbeat`, metadata.HeartbeatRequest, metadata.HeartbeatResponse, HEARTBEAT),
  leave: method(`${META}/Leave`, metadata.LeaveRequest, metadata.LeaveResponse),
  allocateIds: method(`${META}/AllocateIds`, metadata.AllocateIdsRequest, metadata.AllocateIdsResponse),
  getTimestamps: method(
    `${META}/GetTimestamps`,
    metadata.GetTimestampsRequest,
    metadata.GetTimestampsResponse,
  ),
  getRoutes: method(`${META}/GetRoutes`, metadata.GetRoutesRequest, metadata.GetRoutesResponse, ROUTES),
  getStatus: method(`${META}/GetStatus`, metadata.GetStatusRequest, metadata.GetStatusResponse),
  getSettings: method(`${META}/GetSettings`, metadata.GetSettingsRequest, metadata.GetSettingsResponse),
  putSetting: method(
    `${META}/PutSetting`,
    metadata.PutSettingRequest,
    metadata.PutSettingResponse,
    PUT_SETTING,
  ),
} as const;

/** What routers and operators ask of one shard node. */
export const ShardRpc = {
  splitRange: method(`${SHARD}/SplitRange`, shard.SplitRangeRequest, shard.SplitRangeResponse, SPLIT),
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
  engineStats: method(`${SHARD}/EngineStats`, shard.EngineStatsRequest, shard.EngineStatsResponse),
  compactEngine: method(`${SHARD}/CompactEngine`, shard.CompactEngineRequest, shard.CompactEngineResponse),
  debug: method(`${SHARD}/Debug`, shard.DebugRequest, shard.DebugResponse),
} as const;
