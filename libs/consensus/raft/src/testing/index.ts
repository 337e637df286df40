export { MemoryRaftStorage } from './memory-storage.js';
export { TestCluster, type LogStart, type TestClusterOptions, type TestReplica } from './test-cluster.js';
export { entryText, fingerprintOf } from './fingerprint.js';
