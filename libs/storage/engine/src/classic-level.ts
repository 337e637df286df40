import type { ClassicLevelEngine, ClassicLevelOptions } from './classic-level-engine.js';

export type { ClassicLevelEngine, ClassicLevelOptions };

/**
 * As in `classic-level-engine.ts`. The library is loaded with the first call: a process that uses another
 * engine does without its memory.
 */
export async function openClassicLevelEngine(options: ClassicLevelOptions): Promise<ClassicLevelEngine> {
  const engine = await import('./classic-level-engine.js');
  return engine.openClassicLevelEngine(options);
}
