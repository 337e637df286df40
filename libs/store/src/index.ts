export * from './state-machine.js';
export * from './store-config.js';
export * from './store.js';
