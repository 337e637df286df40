export * from './kv-messages.js';
export * from './session-types.js';
