import { setTimeout as delay } from 'node:timers/promises';
import type { CairnClient, RangeInfo } from '@cairn/client';
import { NodeKind } from '@cairn/client';
import type { LocalCluster, NodeKind as NodeKindName } from '@cairn/local-cluster';
import type { RegisterLoad } from './register-load.js';
import { eventually, type TestCluster } from './test-cluster.js';

/** How long a kill was felt. */
export interface KillResult {
  readonly victim: string;
  /**
   * From the kill to the next successful write, in the affected group of keys (a range, or all) that waited
   * longest.
   */
  readonly nextSuccessMs: number;
  /** From the kill until every affected writer had succeeded. */
  readonly allSuccessMs: number;
}

/** Keys that a kill affects, by range; writers are named by their position in `RegisterLoad.progress`. */
export type AffectedGroups = readonly (readonly number[])[];

/** Far above what is wanted: a machine may be busy, but a cluster that never comes back must not pass. */
const RECOVERY_LIMIT_MS = 5_000;
const HEALTH_LIMIT_MS = 30_000;
/** Between runs, so that each begins from a steady state. */
const SETTLE_MS = 300;

/** Kills one node with SIGKILL under load, waits until all affected writers succeed, and starts it again. */
export async function killOnce(
  cluster: LocalCluster,
  load: RegisterLoad,
  victim: string,
  groups: AffectedGroups,
): Promise<KillResult> {
  const killedMs = performance.now();
  await cluster.kill(victim);
  // Only now: until the process is gone it may still have answered.
  load.mark();
  const waits = await eventually(
    `every write that ${victim} was involved in goes on after it was killed`,
    () => {
      const progress = load.progress();
      const firstOf = (writer: number): number => progress[writer]?.firstSuccessMs ?? 0;
      const times = groups.map((writers) => writers.map(firstOf));
      return times.flat().includes(0) ? undefined : times;
    },
    RECOVERY_LIMIT_MS,
  );
  await cluster.restart(victim);
  return {
    victim,
    nextSuccessMs: Math.max(...waits.map((times) => Math.min(...times))) - killedMs,
    allSuccessMs: Math.max(...waits.flat()) - killedMs,
  };
}

/**
 * Waits until all processes are known to live, every range has a leader, and every replica of it, metadata
 * members included, follows that leader in the same term. The last is read from the logs of the nodes: the
 * status of a cluster may be a few seconds old, and a kill before the previous victim is back in its groups
 * would take two of three.
 */
export async function untilHealthy(client: CairnClient, started: TestCluster): Promise<void> {
  const { cluster } = started;
  await eventually(
    'every range has a leader and all its replicas',
    async () => {
      const status = await client.status();
      const live = status.nodes.filter((node) => node.live).length;
      const isKnown = status.unsettled.length === 0;
      return isKnown && status.rangesWithoutLeader === 0 && live >= cluster.nodes.length ? true : undefined;
    },
    HEALTH_LIMIT_MS,
  );
  await eventually(
    'every replica follows its leader',
    () => (['metadata', 'shard'] as const).every((kind) => isAgreed(started, kind)) || undefined,
    HEALTH_LIMIT_MS,
  );
  await delay(SETTLE_MS);
}

/** True when all nodes of a kind name, for each range they log about, the same leader and term. */
function isAgreed(started: TestCluster, kind: NodeKindName): boolean {
  const views = started.cluster.nodes
    .filter((node) => node.kind === kind)
    .map(({ name }) => leadersSeenBy(started.logLines(name)));
  const [first, ...others] = views;
  if (first === undefined || first.size === 0) return false;
  for (const [range, view] of first) {
    if (view.leader === 0) return false;
    for (const other of others) {
      const seen = other.get(range);
      if (seen?.leader !== view.leader || seen.term !== view.term) return false;
    }
  }
  return others.every((other) => other.size === first.size);
}

/** Per range, what the newest line about its leadership says; from the last start of the process on. */
function leadersSeenBy(
  lines: readonly string[],
): Map<number, { readonly leader: number; readonly term: number }> {
  const seen = new Map<number, { readonly leader: number; readonly term: number }>();
  for (const line of lines) {
    if (/"event":"(shard node|metadata member) starts"/.test(line)) seen.clear();
    if (!line.includes('"event":"leadership changed"')) continue;
    const told = JSON.parse(line) as { range: number; leaderReplica: number; term: number };
    seen.set(told.range, { leader: told.leaderReplica, term: told.term });
  }
  return seen;
}

function holds(range: RangeInfo, key: Buffer): boolean {
  return range.start.compare(key) <= 0 && (range.end.length === 0 || range.end.compare(key) > 0);
}

/** The shard node that leads most of the written ranges, and the writers of each range that it leads. */
export async function busiestLeader(
  client: CairnClient,
  load: RegisterLoad,
): Promise<{ readonly name: string; readonly groups: AffectedGroups }> {
  const [ranges, nodes] = [await client.ranges(), await client.nodes()];
  const writersOf = ranges.map((range) =>
    load.progress().flatMap(({ key }, writer) => (holds(range, Buffer.from(key)) ? [writer] : [])),
  );
  const candidates = nodes
    .filter((node) => node.kind === NodeKind.SHARD)
    .map((node) => ({
      name: node.name,
      groups: writersOf.filter(
        (writers, at) => writers.length > 0 && ranges[at]?.leaderStoreId === node.storeId,
      ),
    }))
    .sort((a, b) => b.groups.length - a.groups.length);
  const [first] = candidates;
  if (first === undefined || first.groups.length === 0) throw new Error('no node leads a written range');
  return first;
}

/** The name of the metadata member that leads. */
export async function metadataLeader(client: CairnClient): Promise<string> {
  const nodes = await client.nodes();
  const leader = nodes.find((node) => node.kind === NodeKind.METADATA && node.leader);
  if (leader === undefined) throw new Error('no metadata member leads');
  return leader.name;
}

/** One line for people: the times of all runs, and the median. */
export function describeKills(what: string, results: readonly KillResult[]): string {
  const sorted = results.map((result) => result.nextSuccessMs).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const runs = results.map(
    ({ nextSuccessMs, allSuccessMs }) =>
      `${nextSuccessMs.toFixed(0)} (all writers ${allSuccessMs.toFixed(0)})`,
  );
  return `SIGKILL of ${what}: next success after ${runs.join(', ')} ms; median ${median.toFixed(0)} ms`;
}
