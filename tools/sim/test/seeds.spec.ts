import { expect, it } from '@jest/globals';

import { runScenario } from '../src/scenario.js';

// Safety under faults, then liveness; `npm run sim` runs more of them, and longer.
it.each(Array.from({ length: 12 }, (_, at) => String(at + 1)))(
  'keeps every promise under faults, seed %s',
  async (seed) => {
    const result = await runScenario({ seed, durationMs: 12_000 });
    expect(result.violations).toEqual([]);
    expect(result.succeeded).toBeGreaterThan(100);
  },
  60_000,
);
