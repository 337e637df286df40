export { readClusterVersion, writeClusterVersion } from './cluster-version-file.js';
export { debugText, debugView, type ReplicaDebugView, type StoreDebugView } from './debug-view.js';
export { groupOf } from './group.js';
export { HandOver } from './hand-over.js';
export {
  areTokens,
  judgeStart,
  latestToken,
  METADATA_ACCEPTOR,
  openIdentity,
  saveIdentity,
  withAccepted,
  type KnownMember,
  type NodeIdentity,
  type StartTokens,
} from './node-identity.js';
export type { PeerLinks, RangeHint } from './peer-links.js';
export { Replica } from './replica.js';
export type { ReplicaChange } from './change-plan.js';
export type { ChangeReplicasRequest } from './replica-changer.js';
export { SessionLinks, type SessionLinksOptions } from './session-links.js';
export { type SnapshotChannel } from './snapshot-send.js';
export { type ChildIds } from './split.js';
export * from './state-machine.js';
export * from './store-config.js';
export type { StoreMark } from './store-mark.js';
export type { StoreOptions } from './store-options.js';
export { Store } from './store.js';
