export { localClusterConfig, type LocalClusterConfig } from './cluster-config.js';
export type { ClusterEndpoints } from './data-directory.js';
export type { NodeKind, NodePlacement, NodePlan, PlaceNode } from './layout.js';
export { findFreePorts, isPortFree } from './ports.js';
export {
  startLocalCluster,
  type ClusterEvent,
  type LocalCluster,
  type LocalClusterOptions,
} from './local-cluster.js';
