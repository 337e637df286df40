export type { Refusal } from './decision.js';
export * from './choose-stores.js';
export * from './choose-split-keys.js';
