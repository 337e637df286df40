export { MemoryRaftStorage } from './memory-storage.js';
export { TestCluster, type TestClusterOptions, type TestReplica } from './test-cluster.js';
