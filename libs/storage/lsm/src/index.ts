export { InlineJobs } from './inline-jobs.js';
export type { JobRunner } from './jobs.js';
export { LsmEngine } from './lsm-engine.js';
export { LSM_DEFAULTS, type LsmOptions } from './options.js';
