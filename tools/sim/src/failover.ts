import { parseArgs } from 'node:util';

import { CairnError } from '@cairn/base';
import { DEFAULT_STORE_CONFIG, type Replica } from '@cairn/store';

import { SimCluster } from './cluster.js';
import type { Death } from './node-engine.js';
import type { SimNode } from './sim-node.js';

/** Kills per cluster; after so many the next one is booted. */
const KILLS_PER_CLUSTER = 10;
const BOOT_LIMIT_MS = 60_000;
/** Virtual time between two looks at the cluster: the resolution of what is measured. */
const LOOK_MS = 1;
const FAILOVER_LIMIT_MS = 20_000;
/** What must hold in 99 of 100 cases. */
const BOUND_MS = 1_200;

/** Whose leader is killed. */
export type Victim = 'range' | 'metadata';

export interface Failover {
  readonly victim: Victim;
  readonly death: Death;
  /** Virtual time from the death until the first of the others asks for pre-votes … */
  readonly campaignMs: number;
  /** … until one of them leads … */
  readonly electedMs: number;
  /** … and until it serves. */
  readonly servingMs: number;
  /** Terms that the election took; 1 when the first candidate won. */
  readonly terms: number;
}

interface Group {
  /** Members that run, with their replica of the group. */
  members(): { readonly node: SimNode; readonly replica: Replica }[];
  isServing(node: SimNode, replica: Replica): boolean;
}

function groupOf(cluster: SimCluster, victim: Victim): Group {
  const nodes: readonly SimNode[] = victim === 'range' ? cluster.shards : cluster.metadata;
  const first = nodes.flatMap((node) => [...node.replicas()])[0];
  if (first === undefined) throw new CairnError('INTERNAL', 'no group to kill the leader of');
  const { rangeId } = first;
  return {
    members: () =>
      nodes.flatMap((node) =>
        [...node.replicas()]
          .filter((replica) => replica.rangeId === rangeId)
          .map((replica) => ({ node, replica })),
      ),
    isServing: (node, replica) =>
      victim === 'range'
        ? replica.isReadyLeader
        : cluster.metadata.some((member) => member.name === node.name && member.isServing),
  };
}

/** Kills the leader of the group and watches the others; the dead node runs again when it returns. */
async function failOver(
  cluster: SimCluster,
  { victim, death }: { readonly victim: Victim; readonly death: Death },
): Promise<Failover> {
  const { scheduler } = cluster;
  const group = groupOf(cluster, victim);
  const leader = group.members().find(({ node, replica }) => group.isServing(node, replica));
  if (leader === undefined) throw new CairnError('INTERNAL', 'the group has no leader');
  const oldTerm = leader.replica.raft.term;
  const diedAtMs = scheduler.nowMs;
  leader.node.die(death);
  let [campaignMs, electedMs] = [Number.NaN, Number.NaN];
  for (;;) {
    const passedMs = scheduler.nowMs - diedAtMs;
    const others = group.members();
    if (Number.isNaN(campaignMs) && others.some(({ replica }) => replica.raft.role !== 'follower')) {
      campaignMs = passedMs;
    }
    const next = others.find(({ replica }) => replica.raft.role === 'leader');
    if (next !== undefined && Number.isNaN(electedMs)) electedMs = passedMs;
    if (next !== undefined && group.isServing(next.node, next.replica)) {
      const terms = next.replica.raft.term - oldTerm;
      leader.node.start();
      return { victim, death, campaignMs, electedMs, servingMs: passedMs, terms };
    }
    if (passedMs > FAILOVER_LIMIT_MS) {
      throw new CairnError('DEADLINE_EXCEEDED', `nobody took over within ${FAILOVER_LIMIT_MS} ms`);
    }
    await scheduler.runFor(LOOK_MS);
  }
}

/**
 * Kills leaders `count` times each way, in clusters of three at default timing, and tells how long it took
 * until another one served. The same `seed` gives the same times.
 */
export async function measureFailovers(count: number, seed = 'failover'): Promise<Failover[]> {
  const results: Failover[] = [];
  const kinds = (['range', 'metadata'] as const).flatMap((victim) =>
    (['process', 'power'] as const).map((death) => ({ victim, death })),
  );
  for (const kind of kinds) {
    for (let done = 0; done < count; done += KILLS_PER_CLUSTER) {
      const cluster = new SimCluster({
        seed: `${seed}/${kind.victim}/${kind.death}/${done}`,
        storeConfig: DEFAULT_STORE_CONFIG,
        logSegmentBytes: 1024 * 1024,
      });
      await cluster.boot(BOOT_LIMIT_MS);
      const rng = cluster.rng.fork('failover');
      for (let kill = done; kill < Math.min(count, done + KILLS_PER_CLUSTER); kill += 1) {
        // Any moment between two heartbeats, and after whatever the last kill left behind.
        await cluster.scheduler.runFor(rng.between(4_000, 6_000));
        await cluster.scheduler.runUntilTrue(() => cluster.isHealthy, BOOT_LIMIT_MS);
        results.push(await failOver(cluster, kind));
      }
    }
  }
  return results;
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

function line(name: string, values: readonly number[]): string {
  const sorted = [...values].sort((one, other) => one - other);
  const shown = [0.5, 0.9, 0.99, 1].map((share) => quantile(sorted, share).toFixed(0).padStart(6));
  return `${name.padEnd(30)} ${shown.join(' ')}\n`;
}

/**
 * The command `--failover N [--seed TEXT] [--json]`: the exit code is 1 when more than one case in a hundred
 * of any kind took longer than 1.2 virtual seconds.
 */
export async function failoverMain(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { failover: { type: 'string' }, seed: { type: 'string' }, json: { type: 'boolean' } },
  });
  const count = Number(values.failover);
  if (!Number.isInteger(count) || count < 1)
    throw new Error('usage: npm run sim -- --failover N [--seed TEXT]');
  const results = await measureFailovers(count, values.seed);
  if (values.json === true) process.stdout.write(`${JSON.stringify(results)}\n`);
  else process.stdout.write(`virtual ms until ...             median    p90    p99    max\n`);
  let isFast = true;
  for (const [kind, all] of Map.groupBy(results, ({ victim, death }) => `${victim}, ${death}`)) {
    const serving = all.map(({ servingMs }) => servingMs).sort((one, other) => one - other);
    if (quantile(serving, 0.99) >= BOUND_MS) isFast = false;
    if (values.json === true) continue;
    const repeated = all.filter(({ terms }) => terms > 1).length;
    process.stdout.write(`${kind}: ${all.length} kills, ${repeated} with more than one election\n`);
    process.stdout.write(
      line(
        '  somebody campaigns',
        all.map(({ campaignMs }) => campaignMs),
      ),
    );
    process.stdout.write(
      line(
        '  somebody leads',
        all.map(({ electedMs }) => electedMs),
      ),
    );
    process.stdout.write(line('  somebody serves', serving));
  }
  return isFast ? 0 : 1;
}
