export { MemoryEngine, type MemoryEngineOptions } from './memory-engine.js';
export * from './types.js';
