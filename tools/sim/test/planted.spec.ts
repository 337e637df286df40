import { expect, it } from '@jest/globals';

import { runScenario } from '../src/scenario.js';

// Rows in every namespace, under faults: every replica must have them, byte for byte, and whole collections.
it.each(['planted-1', 'planted-2', 'planted-3', 'planted-4'])(
  'ranges with rows in every namespace stay whole under faults, seed %s',
  async (seed) => {
    const shape = { shardNodes: 4, replicationFactor: 3 };
    const result = await runScenario({ seed, isPlanted: true, durationMs: 10_000, shape });
    expect(result.violations).toEqual([]);
    expect(result.planted).toBeGreaterThan(0);
  },
  60_000,
);
