import { opensAt } from '@cairn/base';
import { SimRng } from '@cairn/runtime-sim';
import { THIS_BUILD, type BuildVersions } from '@cairn/wire';

import { watchUncaught } from './checkers/uncaught.js';
import { SimCluster } from './cluster.js';
import type { Violation } from './observer.js';
import { startClient, type SimClient } from './sim-client.js';
import type { SimNode } from './sim-node.js';

/** The release before the gate: everything else is as it is now. */
export const BUILD_BEFORE: BuildVersions = {
  ...THIS_BUILD,
  build: '0.0.9',
  clusterVersions: { min: 1, max: opensAt('storeNoop') - 1 },
};
export const BUILD_AFTER: BuildVersions = {
  ...THIS_BUILD,
  clusterVersions: { min: 1, max: opensAt('storeNoop') },
};

const LOOK_EVERY_MS = 50;
/** Longer than a new metadata leader listens before it judges anything. */
const PATIENCE_MS = 9_000;
const LIMIT_MS = 40_000;
const CLIENT_TIMEOUT_MS = 20_000;

export interface UpgradeResult {
  readonly seed: string;
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
}

/**
 * A rolling upgrade: every node ends, somehow, and comes back with the next release, in an order and with
 * deaths drawn from the seed; some go back again. While one node is left that runs the release before, no
 * replica may see what came with the next one; when none is, all of them must, and whoever lost power must
 * know of it without asking anybody.
 */
export async function runUpgradeScenario(seed: string): Promise<UpgradeResult> {
  const run = new UpgradeRun(seed);
  const { observer } = run.cluster;
  const over = watchUncaught(observer, process);
  try {
    await run.play();
  } catch (error) {
    observer.violate('exception', error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    over();
  }
  return { seed, violations: observer.violations, virtualMs: run.cluster.scheduler.nowMs };
}

export class UpgradeRun {
  readonly cluster: SimCluster;
  readonly #rng: SimRng;
  readonly #client: SimClient;
  readonly #written = new Map<string, string>();
  #writes = 0;

  constructor(seed: string) {
    this.#rng = new SimRng(seed).fork('upgrade');
    const rng = this.#rng;
    this.cluster = new SimCluster({
      seed,
      metadataMembers: rng.pick([1, 3]),
      shardNodes: rng.pick([3, 4]),
      routers: 2,
      engine: rng.pick(['memory', 'lsm']),
    });
    for (const node of this.cluster.nodes) node.build = BUILD_BEFORE;
    this.cluster.observer.onLine((node, event) => {
      if (event === 'cluster version raised') this.#checkNobodyIsBefore(`${node} raises the cluster version`);
    });
    this.#client = startClient(this.cluster, 'client', CLIENT_TIMEOUT_MS);
  }

  async play(): Promise<void> {
    await this.boot();
    const last = this.#rng.pick(this.#rng.chance(0.5) ? this.cluster.shards : this.cluster.nodes);
    const others = this.cluster.nodes.filter((node) => node !== last);
    while (others.length > 0) {
      const node = this.#rng.pick(others);
      others.splice(others.indexOf(node), 1);
      await this.restart(node, BUILD_AFTER);
      if (this.#rng.chance(0.2)) {
        await this.restart(node, BUILD_BEFORE);
        await this.restart(node, BUILD_AFTER);
      }
    }
    await this.#runFor(PATIENCE_MS);
    await this.restart(last, BUILD_AFTER);
    await this.#until('every replica has seen the new version', () => this.isUpgraded);
    await this.write();
    const struck = this.#rng.pick(this.cluster.shards);
    struck.die('power');
    this.#checkRemembers(struck);
    struck.start();
    await this.#until('the cluster is healthy again', () => this.cluster.isHealthy);
    await this.#read();
  }

  async boot(): Promise<void> {
    await this.cluster.boot();
    await this.write();
    await this.cluster.scheduler.settle(this.#client.client.splitRanges(['key-5']), LIMIT_MS);
    await this.#until('the cluster is healthy', () => this.cluster.isHealthy);
  }

  /** Every replica that there is has been shown the newest version. */
  get isUpgraded(): boolean {
    return this.cluster.isHealthy && this.#markedVersions().every((version) => version > 1);
  }

  #markedVersions(): number[] {
    return this.cluster.shards.flatMap((node) => [...node.replicas()].map((each) => each.markedVersion));
  }

  /** The process ends, one way or another, and the machine gets another release. */
  async restart(node: SimNode, build: BuildVersions): Promise<void> {
    node.die(this.#rng.pick(['process', 'power']));
    await this.#runFor(this.#rng.pick([0, 500, 3_000, 9_000]));
    node.build = build;
    node.start();
    await this.#until(`${node.name} is back`, () => this.cluster.isHealthy);
    if (this.#rng.chance(0.5)) await this.write();
  }

  async write(): Promise<void> {
    for (let at = 0; at < 3; at += 1) {
      this.#writes += 1;
      const key = `key-${this.#writes % 10}`;
      const value = `value-${this.#writes}`;
      await this.cluster.scheduler.settle(this.#client.client.put(key, value), LIMIT_MS);
      this.#written.set(key, value);
    }
    this.#look();
  }

  async #read(): Promise<void> {
    const { observer, scheduler } = this.cluster;
    for (const [key, value] of this.#written) {
      const found = (await scheduler.settle(this.#client.client.get(key), LIMIT_MS))?.value.toString();
      if (found !== value) observer.violate('lost-write', `${key} is ${found}, was ${value}`);
    }
  }

  async #runFor(forMs: number): Promise<void> {
    const { scheduler } = this.cluster;
    const endMs = scheduler.nowMs + forMs;
    while (scheduler.nowMs < endMs) {
      await scheduler.runFor(LOOK_EVERY_MS);
      this.#look();
    }
  }

  async #until(what: string, isTrue: () => boolean): Promise<void> {
    const { scheduler } = this.cluster;
    const endMs = scheduler.nowMs + LIMIT_MS;
    while (!isTrue()) {
      if (scheduler.nowMs >= endMs) throw new Error(`not within ${LIMIT_MS} ms: ${what}`);
      await this.#runFor(LOOK_EVERY_MS);
    }
  }

  #look(): void {
    if (this.#markedVersions().some((version) => version > 1)) {
      this.#checkNobodyIsBefore('a replica was shown the new version');
    }
  }

  #checkNobodyIsBefore(what: string): void {
    const before = this.cluster.nodes.filter(({ build }) => build === BUILD_BEFORE).map(({ name }) => name);
    if (before.length === 0) return;
    this.cluster.observer.violate('gate', `${what} while ${before.join()} may not read it`);
  }

  /** What it has been shown it may have written: it has to know that without anybody's help. */
  #checkRemembers(node: SimNode): void {
    const bytes = node.disk.peek('/data/cluster-version.json');
    const text = bytes === undefined ? '' : Buffer.from(bytes).toString();
    if (text.includes('"clusterVersion":2')) return;
    this.cluster.observer.violate('version-forgotten', `${node.name} has on its disk: ${text || 'nothing'}`);
  }
}
