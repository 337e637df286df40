export type { FrameAction } from './sim-connection.js';
export * from './sim-disk.js';
export * from './sim-network.js';
export * from './sim-process.js';
export * from './sim-rng.js';
export * from './sim-scheduler.js';
