/**
 * Goal: a cluster whose nodes run two releases writes nothing that the older one could not read, and every
 * node may write it once none is left. Method: rolling upgrades on virtual time, builds injected.
 */
import { expect, it } from '@jest/globals';

import { BUILD_AFTER, BUILD_BEFORE, runUpgradeScenario, UpgradeRun } from '../src/upgrade-scenario.js';

it.each(['1', '2', '3', '4', '5', '6'])('a rolling upgrade of seed %s', async (seed) => {
  expect(await runUpgradeScenario(seed)).toMatchObject({ violations: [] });
});

it('a node of the release before is refused for good, and says why, once the others have left it', async () => {
  const run = new UpgradeRun('refused');
  const { cluster } = run;
  const { scheduler, observer } = cluster;
  await run.boot();
  for (const node of cluster.nodes) await run.restart(node, BUILD_AFTER);
  await scheduler.runUntilTrue(() => run.isUpgraded, 30_000);
  expect(observer.violations).toEqual([]);

  const [meta, shard, router] = [cluster.metadata.at(-1), cluster.shards.at(-1), cluster.routers.at(-1)];
  for (const node of [meta, shard, router]) {
    if (node === undefined) continue;
    node.die('process');
    node.build = BUILD_BEFORE;
    node.start();
    await scheduler.runFor(5_000);
  }
  const ended = observer.violations.map(({ checker, message }) => `${checker} ${message.split('\n')[0]}`);
  expect(ended).toContainEqual(
    expect.stringMatching(
      /(fatal|start) .*metadata of cluster version 2, where this release runs with 1: a later/,
    ),
  );
  expect(ended).toContainEqual(
    expect.stringMatching(
      /start .*shard "shard-\d" is Cairn 0\.0\.9 and runs with cluster version 1, and the cluster is at version 2: start it with a later release, as its data directory \/data says/,
    ),
  );
  expect(ended).toContainEqual(
    expect.stringMatching(
      /router "router-2" is Cairn 0\.0\.9 and runs with cluster version 1, and the cluster is at/,
    ),
  );
  // A machine that was wiped has nothing that says so: the others do.
  shard?.loseDirectory();
  shard?.start();
  await scheduler.runFor(5_000);
  expect(observer.violations.at(-1)?.message).toMatch(
    /shard "shard-\d" is Cairn 0\.0\.9 and runs with cluster/,
  );
  expect(observer.violations.at(-1)?.message).not.toMatch(/its data directory/);
});
