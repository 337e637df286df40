import { expect, it } from '@jest/globals';

import type { FaultKind } from '../src/nemesis.js';
import { runScenario } from '../src/scenario.js';

/** Each kind with what brings its damage to light, one seed each. */
const RUNS: readonly (readonly FaultKind[])[] = [
  ['vanish'],
  ['half-open'],
  ['datagrams'],
  ['disk-full'],
  ['disk-error', 'power-loss'],
  ['engine-error', 'power-loss'],
  ['bit-rot'],
  ['clock-step'],
];

it.each(RUNS.map((faults) => [faults.join(', '), faults] as const))(
  'keeps every promise under %s',
  async (name, faults) => {
    const result = await runScenario({ seed: `faults-${name}`, faults, durationMs: 8_000 });
    expect(result.violations).toEqual([]);
    expect(result.faults).toBeGreaterThan(0);
    expect(result.succeeded).toBeGreaterThan(50);
  },
  60_000,
);
