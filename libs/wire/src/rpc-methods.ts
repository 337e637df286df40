import * as metadata from './gen/cairn/internal/v1/metadata.js';
import * as shard from './gen/cairn/internal/v1/shard.js';
import type { RpcMethod } from './session-types.js';

interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

/** A method of a generated service. */
function method<Request, Response>(
  name: string,
  request: Codec<Request>,
  response: Codec<Response>,
): RpcMethod<Request, Response> {
  return {
    name,
    encodeRequest: (message) => request.encode(message).finish(),
    decodeRequest: (bytes) => request.decode(bytes),
    encodeResponse: (message) => response.encode(message).finish(),
    decodeResponse: (bytes) => response.decode(bytes),
  };
}

const META = `${metadata.protobufPackage}.Metadata`;
const SHARD = `${shard.protobufPackage}.Shard`;

/** What nodes ask of the metadata service. */
export const MetadataRpc = {
  join: method(`${META}/Join`, metadata.JoinRequest, metadata.JoinResponse),
  heartbeat: method(`${META}/Heartbeat`, metadata.HeartbeatRequest, metadata.HeartbeatResponse),
  leave: method(`${META}/Leave`, metadata.LeaveRequest, metadata.LeaveResponse),
  allocateIds: method(`${META}/AllocateIds`, metadata.AllocateIdsRequest, metadata.AllocateIdsResponse),
  getTimestamps: method(
    `${META}/GetTimestamps`,
    metadata.GetTimestampsRequest,
    metadata.GetTimestampsResponse,
  ),
  getRoutes: method(`${META}/GetRoutes`, metadata.GetRoutesRequest, metadata.GetRoutesResponse),
  getStatus: method(`${META}/GetStatus`, metadata.GetStatusRequest, metadata.GetStatusResponse),
  getSettings: method(`${META}/GetSettings`, metadata.GetSettingsRequest, metadata.GetSettingsResponse),
  putSetting: method(`${META}/PutSetting`, metadata.PutSettingRequest, metadata.PutSettingResponse),
} as const;

/** What routers and operators ask of one shard node. */
export const ShardRpc = {
  splitRange: method(`${SHARD}/SplitRange`, shard.SplitRangeRequest, shard.SplitRangeResponse),
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
} as const;
