import { expect, it } from '@jest/globals';

import { MORE_FAULT_KINDS } from '../src/faults/more-strikes.js';
import { runScenario } from '../src/scenario.js';

const SHORT = {
  ...{ durationMs: 3_000, faultEveryMs: 200 },
  shape: { metadataMembers: 3, shardNodes: 3, routers: 1 },
};

it.each(MORE_FAULT_KINDS.map((kind) => [kind]))('keeps every promise under %s alone', async (kind) => {
  const { violations, faults } = await runScenario({ ...SHORT, seed: '5', faults: [kind] });
  expect(violations).toEqual([]);
  expect(faults).toBeGreaterThan(0);
});

it('answers with megabytes, in frames that are cut', async () => {
  const { violations, succeeded } = await runScenario({
    ...{ seed: '5', faults: [], durationMs: 500, clients: 1, thinkMs: 60 },
    shape: { bigKeys: 7, shardNodes: 3, metadataMembers: 1, engine: 'memory' },
  });
  expect(violations).toEqual([]);
  expect(succeeded).toBeGreaterThan(10);
});

it('does the same again, lies, flips and slow disks included', async () => {
  const once = (): Promise<{ digest: string }> =>
    runScenario({ ...SHORT, durationMs: 2_000, seed: '4', faults: MORE_FAULT_KINDS });
  const { digest } = await once();
  expect((await once()).digest).toBe(digest);
});
