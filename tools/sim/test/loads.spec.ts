import { expect, it } from '@jest/globals';
import { LOADS } from '@cairn/workloads';

import { runScenario } from '../src/scenario.js';

const SHAPE = { metadataMembers: 3, shardNodes: 3, routers: 3, engine: 'memory' } as const;

// Transactions over several ranges and routers that die amid them; `npm run sim -- --workload all` runs more.
it.each(LOADS)('%s keeps every promise under faults', async (workload) => {
  const faults = ['process-death', 'partition', 'break-connections'] as const;
  const result = await runScenario({
    ...{ seed: `load-${workload}`, workload, clients: 0, isPlanted: false },
    ...{ faults, durationMs: 3_000, thinkMs: 25, shape: SHAPE },
  });
  expect(result.violations).toEqual([]);
  expect(result.workload).toBe(workload);
  expect(result.succeeded).toBeGreaterThan(50);
});

it('a load of transactions does the same twice from one seed', async () => {
  const once = (): Promise<{ digest: string }> =>
    runScenario({ seed: 'twice', workload: 'bank', clients: 1, durationMs: 2_000, shape: SHAPE });
  const { digest } = await once();
  expect((await once()).digest).toBe(digest);
});

it('some seeds have a load beside the ordinary one, most have none', async () => {
  const names: (string | undefined)[] = [];
  for (const seed of ['1', '2', '3', '4', '5', '6']) {
    const { workload } = await runScenario({ seed, durationMs: 10, shape: SHAPE, faults: [] });
    names.push(workload);
  }
  expect(names.filter((name) => name === undefined).length).toBeGreaterThan(2);
});
