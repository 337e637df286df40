import { expect, it } from '@jest/globals';

import { runScenario } from '../src/scenario.js';

it('serves everything correctly without faults, and logs no error', async () => {
  const result = await runScenario({ seed: 'calm', faults: [], durationMs: 10_000 });
  expect(result.violations).toEqual([]);
  expect(result.succeeded).toBeGreaterThan(500);
  expect(result.operations).toBe(result.succeeded);
  expect(result.ranges).toBeGreaterThan(1);
}, 60_000);

it('does the same twice from one seed', async () => {
  const first = await runScenario({ seed: 'twice', durationMs: 5_000 });
  const second = await runScenario({ seed: 'twice', durationMs: 5_000 });
  expect(second.digest).toBe(first.digest);
  expect(second.events).toBe(first.events);
}, 60_000);
