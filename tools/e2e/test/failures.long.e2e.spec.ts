/**
 * Goal: processes die with SIGKILL under load; no acknowledged write is lost, no answer is wrong, and
 * writes go on. Method: one cluster with two routers and four ranges under a steady load of writers (half
 * of them STRICT), readers and counters, all checked by `RegisterHistory`; the leader of ranges, the leader
 * of the metadata service and the router in use are killed five times each, then everything at once. Times
 * are printed, and asserted only against a generous bound: the machine that runs this may be busy.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { CairnClient } from '@cairn/client';
import {
  busiestLeader,
  describeKills,
  killOnce,
  metadataLeader,
  untilHealthy,
  type AffectedGroups,
  type KillResult,
} from '../src/kill-run.js';
import { RegisterLoad } from '../src/register-load.js';
import { eventually, startTestCluster, type TestCluster } from '../src/test-cluster.js';

const RUNS = 5;
const PAUSES = 2;
const WRITERS = 32;
const SHAPE = { metadata: 3, shards: 3, routers: 2 };

let started: TestCluster | undefined;
/**
 * What the load goes through; and another one for questions, so that these do not depend on the killed
 * router.
 */
let client: CairnClient;
let observer: CairnClient;
let load: RegisterLoad;

function use(): TestCluster {
  if (started === undefined) throw new Error('the cluster did not start');
  return started;
}

/** All writers as one group. */
function everyone(): AffectedGroups {
  return [load.progress().map((_, writer) => writer)];
}

/** The writers that need a timestamp for every write, as one group. */
function everyoneStrict(): AffectedGroups {
  return [load.progress().flatMap(({ isStrict }, writer) => (isStrict ? [writer] : []))];
}

/** The router that the load goes through. */
async function routerInUse(): Promise<string> {
  const { endpoint } = await client.ready();
  const router = use().cluster.nodes.find((node) => node.address === endpoint);
  if (router === undefined) throw new Error(`no router listens at ${endpoint}`);
  return router.name;
}

/** For `eventually`: true once each writer has succeeded since the last `mark`. */
function everyoneSucceeded(): true | undefined {
  return load.progress().every(({ firstSuccessMs }) => firstSuccessMs > 0) ? true : undefined;
}

async function repeat(
  choose: () => Promise<{ readonly name: string; readonly groups: AffectedGroups }>,
): Promise<KillResult[]> {
  const results: KillResult[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    await untilHealthy(observer, use());
    const { name, groups } = await choose();
    results.push(await killOnce(use().cluster, load, name, groups));
    expect(load.problems).toEqual([]);
  }
  return results;
}

/** Results are for people who read the log of a run, too. */
function report(text: string): void {
  process.stdout.write(`${text}\n`);
}

beforeAll(async () => {
  started = await startTestCluster(SHAPE);
  client = started.client();
  observer = started.client();
  await client.ready({ timeoutMs: 20_000 });
  await observer.splitRanges(['load/008', 'load/016', 'load/024']);
  load = new RegisterLoad({ client, prefix: 'load/', writers: WRITERS, readers: 8, counters: 4, pauseMs: 4 });
  load.start();
  await eventually('every writer has succeeded once', everyoneSucceeded);
}, 90_000);

afterAll(async () => {
  // Without waiting for the load: after a failure it may be stuck, and closing the clients ends it.
  const stopped = load?.stop();
  report(`load: ${JSON.stringify(load?.stats)}, problems: ${JSON.stringify(load?.problems)}`);
  await started?.stop();
  await stopped;
}, 60_000);

describe('under load', () => {
  it('survives SIGKILL of shard nodes that lead', async () => {
    const results = await repeat(() => busiestLeader(observer, load));
    report(describeKills('a leading shard node', results));
  }, 90_000);

  it('survives SIGKILL of the metadata leader', async () => {
    const results = await repeat(async () => ({
      name: await metadataLeader(observer),
      groups: everyoneStrict(),
    }));
    report(describeKills('the metadata leader (STRICT writes)', results));
  }, 90_000);

  it('survives SIGKILL of the router in use', async () => {
    const results = await repeat(async () => ({ name: await routerInUse(), groups: everyone() }));
    report(describeKills('the router in use', results));
  }, 90_000);

  it('answers nothing old after a leading shard node was paused', async () => {
    const { cluster } = use();
    for (let run = 0; run < PAUSES; run += 1) {
      await untilHealthy(observer, use());
      const { name } = await busiestLeader(observer, load);
      await cluster.kill(name, 'SIGSTOP');
      try {
        load.mark();
        await eventually('somebody else leads', everyoneSucceeded);
      } finally {
        // It wakes up with leases that it believes in and requests that it has not answered.
        await cluster.kill(name, 'SIGCONT');
      }
      load.mark();
      await eventually('the load goes on', everyoneSucceeded);
      expect(load.problems).toEqual([]);
    }
  }, 60_000);

  it('loses nothing and refuses nothing while nodes are restarted in turn', async () => {
    const { cluster } = use();
    const before = { ...load.stats };
    const shards = cluster.nodes.filter(({ kind }) => kind === 'shard').map(({ name }) => name);
    for (const name of [...shards, await metadataLeader(observer), await routerInUse()]) {
      await untilHealthy(observer, use());
      await cluster.kill(name, 'SIGTERM');
      await cluster.restart(name);
    }
    await untilHealthy(observer, use());
    const { refused, lost, failedReads } = load.stats;
    expect({ refused, lost, failedReads }).toEqual({
      refused: before.refused,
      lost: before.lost,
      failedReads: before.failedReads,
    });
    expect(load.problems).toEqual([]);
  }, 90_000);

  it('has everything that was acknowledged after all processes were killed at once', async () => {
    const { cluster } = use();
    await untilHealthy(observer, use());
    const acknowledged = load.stats.acknowledged;
    const names = cluster.nodes.map((node) => node.name);
    await Promise.all(names.map((name) => cluster.kill(name)));
    await Promise.all(names.map((name) => cluster.restart(name)));
    await untilHealthy(observer, use());
    load.mark();
    await eventually('every writer goes on', everyoneSucceeded);
    expect(load.stats.acknowledged).toBeGreaterThan(acknowledged);
    expect(load.problems).toEqual([]);
  }, 90_000);

  it('answers every acknowledged write when all is over', async () => {
    await load.stop();
    await load.readBack(observer);
    expect(load.problems).toEqual([]);
    expect(load.stats.acknowledged).toBeGreaterThan(1_000);
    expect(load.stats.reads).toBeGreaterThan(1_000);
    expect(load.stats.increments).toBeGreaterThan(100);
  }, 60_000);
});
