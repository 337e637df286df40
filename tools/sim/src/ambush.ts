import type { SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from './cluster.js';
import type { SimShardNode } from './shard-node.js';

const LOOK_EVERY_MS = 1;
/** Answers are lost for so long before the connections break. */
const LOST_MS = { low: 2, high: 25 };
const DOWN_MS = { low: 1, high: 600 };
const BLOCKED_MS = { low: 100, high: 1_500 };

/**
 * Strikes in the moments in which promises pass from one range to another: while a split is under way, so that
 * answers to what came before are lost, and right after its first replica has applied it, while the others
 * still have it before them. What strikes at random seldom meets these milliseconds.
 */
export class Ambush {
  readonly #cluster: SimCluster;
  readonly #rng: SimRng;
  /** Everybody who sends requests to shard nodes. */
  readonly #askers: readonly string[];
  readonly #versions = new Map<number, number>();
  #isSplitting = false;
  readonly #undo = new Set<() => void>();
  #isOn = false;

  constructor(cluster: SimCluster, askers: readonly string[]) {
    this.#cluster = cluster;
    this.#rng = cluster.rng.fork('ambush');
    this.#askers = askers;
  }

  start(): void {
    this.#isOn = true;
    this.#look();
  }

  /** Ends what is under way; nothing more happens. */
  heal(): void {
    this.#isOn = false;
    for (const undo of [...this.#undo]) undo();
  }

  #look(): void {
    if (!this.#isOn) return;
    let isSplitting = false;
    for (const node of this.#cluster.shards) {
      for (const replica of node.replicas()) {
        isSplitting ||= replica.isFrozen;
        const version = replica.descriptorOrUndefined?.epoch.version ?? 0;
        const known = this.#versions.get(replica.rangeId);
        if (known === undefined || version > known) this.#versions.set(replica.rangeId, version);
        if (known !== undefined && version > known) this.#strike(node);
      }
    }
    if (isSplitting && !this.#isSplitting && this.#rng.chance(0.6)) this.#loseAnswers();
    this.#isSplitting = isSplitting;
    this.#cluster.scheduler.schedule(LOOK_EVERY_MS, () => {
      this.#look();
    });
  }

  /** `node` was the first to cut the range: in all likelihood it leads. */
  #strike(node: SimShardNode): void {
    const rng = this.#rng;
    if (rng.chance(0.4)) this.#silence(node);
    if (!rng.chance(0.4) || !node.isAlive) return;
    this.#cluster.scheduler.schedule(rng.between(0, 8), () => {
      if (!this.#isOn || !node.isAlive) return;
      node.die(rng.chance(0.5) ? 'power' : 'process');
      this.#later(rng.between(DOWN_MS.low, DOWN_MS.high), () => {
        node.resume();
        if (!node.isAlive) node.start();
      });
    });
  }

  /**
   * `from` is asked to hand a range over: it hears no more of the others, and one of the routers loses it and finds
   * its successor, while the rest still ask it.
   */
  handover(from: SimShardNode, toStoreId: number): void {
    const rng = this.#rng;
    const { network, shards, routers, scheduler, observer } = this.#cluster;
    if (!this.#isOn || from.storeId === toStoreId || !rng.chance(0.5)) return;
    scheduler.schedule(rng.between(1, 12), () => {
      if (!this.#isOn) return;
      observer.note('ambush', `keeps from ${from.name} what happens`);
      const others = shards.filter((other) => other !== from);
      const open = others.map((other) => network.block(other.name, from.name));
      const router = rng.pick(routers);
      network.breakConnections(router.name, from.name);
      open.push(network.block(router.name, from.name));
      this.#later(rng.between(BLOCKED_MS.low, BLOCKED_MS.high), () => {
        for (const undo of open) undo();
      });
    });
  }

  /** Answers on their way are lost; whoever waited for them asks again. */
  #loseAnswers(): void {
    const { network, observer, shards } = this.#cluster;
    observer.note('ambush', 'loses answers, then breaks connections');
    const names = shards.map(({ name }) => name);
    const open = names.flatMap((name) => this.#askers.map((asker) => network.block(name, asker)));
    this.#later(this.#rng.between(LOST_MS.low, LOST_MS.high), () => {
      for (const name of names) for (const asker of this.#askers) network.breakConnections(name, asker);
      for (const undo of open) undo();
    });
  }

  /** One of the others hears of the split and of nothing after it. */
  #silence(node: SimShardNode): void {
    const others = this.#cluster.shards.filter((other) => other !== node);
    if (others.length === 0) return;
    const other = this.#rng.pick(others);
    this.#cluster.observer.note('ambush', `blocks ${node.name} to ${other.name}`);
    const delayMs = this.#rng.between(0, 6);
    this.#cluster.scheduler.schedule(delayMs, () => {
      if (!this.#isOn) return;
      const open = this.#cluster.network.block(node.name, other.name);
      this.#later(this.#rng.between(BLOCKED_MS.low, BLOCKED_MS.high), open);
    });
  }

  #later(delayMs: number, undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#cluster.scheduler.schedule(delayMs, once);
  }
}
