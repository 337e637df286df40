export { openLmdbEngine, type LmdbEngine, type LmdbOptions } from './lmdb-engine.js';
