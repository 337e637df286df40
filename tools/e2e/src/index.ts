export * from './log-files.js';
export * from './programs.js';
export * from './test-cluster.js';
