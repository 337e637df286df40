import type { RpcMethod } from '@cairn/wire';

import * as generated from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

/**
 * The only file of this package that names generated code; everything else imports messages and methods from
 * here.
 */
export {
  NodeKind,
  ReplicaRole,
  type GetRoutesRequest,
  type GetRoutesResponse,
  type GetStatusResponse,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type JoinRequest,
  type JoinResponse,
  type NodeStatus,
  type PutSettingRequest,
  type RangeReport,
  type Route,
  type SettingValue,
  type StoreCommand,
  type StoreInfo,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
export type { RangeDescriptor as RangeDescriptorMessage } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

function method<Request, Response>(
  name: string,
  request: Codec<Request>,
  response: Codec<Response>,
): RpcMethod<Request, Response> {
  return {
    name: `${generated.protobufPackage}.Metadata/${name}`,
    encodeRequest: (message) => request.encode(message).finish(),
    decodeRequest: (bytes) => request.decode(bytes),
    encodeResponse: (message) => response.encode(message).finish(),
    decodeResponse: (bytes) => response.decode(bytes),
  };
}

/** The methods of the metadata service. */
export const MetadataRpc = {
  join: method('Join', generated.JoinRequest, generated.JoinResponse),
  heartbeat: method('Heartbeat', generated.HeartbeatRequest, generated.HeartbeatResponse),
  allocateIds: method('AllocateIds', generated.AllocateIdsRequest, generated.AllocateIdsResponse),
  getTimestamps: method('GetTimestamps', generated.GetTimestampsRequest, generated.GetTimestampsResponse),
  getRoutes: method('GetRoutes', generated.GetRoutesRequest, generated.GetRoutesResponse),
  getStatus: method('GetStatus', generated.GetStatusRequest, generated.GetStatusResponse),
  getSettings: method('GetSettings', generated.GetSettingsRequest, generated.GetSettingsResponse),
  putSetting: method('PutSetting', generated.PutSettingRequest, generated.PutSettingResponse),
} as const;
