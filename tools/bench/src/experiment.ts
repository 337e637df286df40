import type { ConfigDefinition, ConfigSchema } from '@cairn/config';
import type { z } from 'zod';
import type { Stage } from './stage.js';

/** One thing that `npm run bench` can do, with flags of its own. */
export interface Experiment<Schema extends ConfigSchema> {
  readonly config: ConfigDefinition<Schema>;
  /** Resolves with the exit code. `searchPath` is the PATH. */
  run(stage: Stage, config: z.output<Schema>, searchPath: string): Promise<number>;
}
