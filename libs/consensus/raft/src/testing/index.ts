export { MemoryRaftStorage } from './memory-storage.js';
export { NO_CONTACT, TestContact } from './test-contact.js';
export { TestCluster, type LogStart, type TestClusterOptions, type TestReplica } from './test-cluster.js';
export { entryText, fingerprintOf } from './fingerprint.js';
