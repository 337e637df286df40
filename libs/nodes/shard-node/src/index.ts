export { DEFAULT_KV_LIMITS, type KvLimits } from './kv/kv-limits.js';
export { KvMachine } from './kv/kv-machine.js';
export type { KvMachineView, KvWindowView } from './kv/kv-machine-view.js';
export type { MetadataAccess } from './node/metadata-access.js';
export type { ShardNodeOptions } from './node/node-options.js';
export type { ShardNode } from './node/shard-node.js';
export { openShardNode, type ShardNodeContext, type ShardNodePorts } from './node/open-shard-node.js';
