export { createMetadataNode, type MetadataNode, type MetadataNodeOptions } from './metadata-node.js';
export { MetadataStateMachine, type ApplyResult } from './metadata-state-machine.js';
export type { MetadataMember } from './leadership.js';
export { readSetting, type SettingName } from './settings.js';
export { TIMESTAMPS_PER_CALL_MAX } from './timestamp-oracle.js';
export { IDS_PER_CALL_MAX } from './metadata-service.js';
export { descriptorFromMessage, descriptorToMessage, compareEpochs } from './descriptor-messages.js';
export {
  MetadataClient,
  type MetadataCallOptions,
  type MetadataClientOptions,
  type MetadataConnection,
} from './metadata-client.js';
export { DeadlockDetector, type DeadlockVictim, type LockWait } from './deadlock-detector.js';
export { metadataConnector, type MetadataConnectorOptions } from './metadata-connector.js';
export { openMember, type MemberContext, type MemberPorts, type RunningMember } from './open-member.js';
