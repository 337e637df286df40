import { expect, it } from '@jest/globals';

import { mutatedModules } from '../src/mutants/loader.js';
import { MUTANTS } from '../src/mutants/table.js';

it('has enough defects, each under a name of its own', () => {
  expect(MUTANTS.length).toBeGreaterThanOrEqual(30);
  expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
});

it.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
  'finds the place of %s exactly once, and what comes out compiles',
  (_name, mutant) => {
    for (const code of mutatedModules(mutant).values()) expect(code.length).toBeGreaterThan(0);
  },
);
