export * from './types.js';
export { defaultRaftConfig, validateRaftConfig } from './config.js';
export { CONFIG_OPERATIONS_MAX, decodeConfigChange, encodeConfigChange } from './membership-change.js';
export { LEARNER_LAG_MAX } from './membership.js';
export { INDEX_MAX, isTermBelievable, TERM_MAX } from './plausible.js';
export { READS_PENDING_MAX } from './read-index.js';
export { RaftNode, type RaftNodeOptions } from './raft-node.js';
