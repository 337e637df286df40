/**
 * The only file of this package that names generated code; everything else imports messages and methods from
 * here.
 */
export {
  buildFromMessage,
  buildToMessage,
  checkedTail,
  MetadataRpc,
  readDescriptor,
  REPORTED_RANGES_MAX,
  RPC_KEYS_MAX,
  writeDescriptor,
  type BuildVersions,
} from '@cairn/wire';
export {
  NodeKind,
  NodeState,
  ReplicaRole,
  type DeleteHoldRequest,
  type DeleteHoldResponse,
  type GetRoutesRequest,
  type GetRoutesResponse,
  type GetStatusResponse,
  type Hold as HoldMessage,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type JoinRequest,
  type JoinResponse,
  type LeaveRequest,
  type ListHoldsResponse,
  type NodeStatus,
  type PutHoldRequest,
  type PutHoldResponse,
  type PutSettingRequest,
  type RangeDescriptor as RangeDescriptorMessage,
  type RangeReport,
  type Route,
  type SettingChange,
  type SettingValue,
  type StoreCommand,
  type WaitingReplica,
  type StoreInfo,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
