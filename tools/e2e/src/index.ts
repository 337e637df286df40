export * from './programs.js';
export * from './test-cluster.js';
