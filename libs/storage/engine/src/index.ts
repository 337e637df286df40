export {
  batchSpent,
  ENGINE_KEY_BYTES_MAX,
  engineClosed,
  handleClosed,
  isReadFailure,
  ITERATOR_PAGE_BYTES,
} from './engine-errors.js';
export {
  engineFactoryOf,
  isOwnEngine,
  openForeignEngine,
  OWN_ENGINES,
  type EngineFactory,
  type EngineOpenOptions,
  type OwnEngine,
} from './engine-factory.js';
export { claimForEngine } from './engine-kind.js';
export { firstByWalk } from './first-by-walk.js';
export { MemoryEngine, type MemoryEngineOptions } from './memory-engine.js';
export { checkKey } from './reserved-keys.js';
export * from './types.js';
