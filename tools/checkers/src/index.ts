export * from './counters.js';
export * from './coverage.js';
export * from './history.js';
export * from './linearizability.js';
