export { claimForEngine, type EngineKind } from './engine-kind.js';
export { MemoryEngine, type MemoryEngineOptions } from './memory-engine.js';
export * from './types.js';
