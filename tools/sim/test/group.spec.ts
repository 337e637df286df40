import { expect, it } from '@jest/globals';

import { runGroupScenario } from '../src/group-scenario.js';

it('keeps every promise of the core over a network that loses, repeats and reorders', () => {
  let [leaderships, committed] = [0, 0];
  for (let seed = 1; seed <= 60; seed += 1) {
    const result = runGroupScenario({ seed: String(seed) });
    expect(result.violations).toEqual([]);
    leaderships += result.leaderships;
    committed += result.committed;
  }
  expect(leaderships).toBeGreaterThan(200);
  expect(committed).toBeGreaterThan(3_000);
});

it('does the same twice from one seed', () => {
  expect(runGroupScenario({ seed: 'twice' })).toEqual(runGroupScenario({ seed: 'twice' }));
});
