import type { LmdbEngine, LmdbOptions } from './lmdb-engine.js';

export type { LmdbEngine, LmdbOptions };

/**
 * As in `lmdb-engine.ts`. The library is loaded with the first call: a process that uses another engine does
 * without its memory.
 */
export async function openLmdbEngine(options: LmdbOptions): Promise<LmdbEngine> {
  const engine = await import('./lmdb-engine.js');
  return engine.openLmdbEngine(options);
}
