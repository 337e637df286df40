export * from './kv-messages.js';
