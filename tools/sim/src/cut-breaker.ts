import type { SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from './cluster.js';
import type { SimShardNode } from './shard-node.js';

const LOOK_EVERY_MS = 1;
/** A cut takes a flush of the engine and a write of the log: some milliseconds. */
const WITHIN_MS = 5;
const DOWN_MS = { low: 1, high: 600 };

/**
 * Lets nodes lose power while they carry out a cut, so that what they write of it may be there in part. Loss
 * of power at random seldom meets these milliseconds.
 */
export class CutBreaker {
  readonly #cluster: SimCluster;
  readonly #rng: SimRng;
  /** Those that were carrying out a cut at the last look. */
  #cutting: ReadonlySet<SimShardNode> = new Set();
  readonly #down = new Set<SimShardNode>();
  #isOn = false;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    this.#rng = cluster.rng.fork('cut-breaker');
  }

  start(): void {
    this.#isOn = true;
    this.#look();
  }

  /** Whoever is down comes back; nothing more happens. */
  heal(): void {
    this.#isOn = false;
    for (const node of [...this.#down]) this.#revive(node);
  }

  #look(): void {
    if (!this.#isOn) return;
    const cutting = this.#cluster.shards.filter((node) =>
      [...node.replicas()].some(({ exclusiveWork }) => exclusiveWork !== undefined),
    );
    for (const node of cutting) if (!this.#cutting.has(node) && this.#rng.chance(0.5)) this.#strikeSoon(node);
    this.#cutting = new Set(cutting);
    this.#cluster.scheduler.schedule(LOOK_EVERY_MS, () => {
      this.#look();
    });
  }

  #strikeSoon(node: SimShardNode): void {
    const { scheduler, observer } = this.#cluster;
    scheduler.schedule(this.#rng.between(0, WITHIN_MS), () => {
      if (!this.#isOn || !node.isAlive) return;
      observer.note('cut-breaker', `${node.name} loses power in a cut`);
      node.die('power');
      this.#down.add(node);
      scheduler.schedule(this.#rng.between(DOWN_MS.low, DOWN_MS.high), () => {
        this.#revive(node);
      });
    });
  }

  #revive(node: SimShardNode): void {
    if (this.#down.delete(node) && !node.isAlive) node.start();
  }
}
