export * from './counters.js';
export * from './coverage.js';
export * from './history.js';
export * from './linearizability.js';
export * from './ordering.js';
export * from './raft/commits.js';
export * from './raft/leaders.js';
export * from './raft/logs.js';
