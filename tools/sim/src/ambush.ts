import type { SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from './cluster.js';
import type { SimShardNode } from './shard-node.js';

const LOOK_EVERY_MS = 1;
/** Answers are lost for so long before the connections break. */
const LOST_MS = { low: 2, high: 25 };
/** Pauses between two sieges of leaders, and how long a leader stands still in one. */
const SIEGE_EVERY_MS = { low: 500, high: 6_000 };
const STILL_MS = { low: 600, high: 1_400 };
const DOWN_MS = { low: 1, high: 600 };
const BLOCKED_MS = { low: 100, high: 1_500 };

/**
 * Strikes in the moments in which promises pass from one range to another: while a split is under way, so
 * that answers to what came before are lost, and right after its first replica has applied it, while the
 * others still have it before them; and where leaders are replaced. What strikes at random seldom meets these
 * milliseconds.
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
    this.#besiegeSoon();
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

  /** Strikes a leader now and then. */
  #besiegeSoon(): void {
    this.#cluster.scheduler.schedule(this.#rng.between(SIEGE_EVERY_MS.low, SIEGE_EVERY_MS.high), () => {
      if (!this.#isOn) return;
      this.#besiege();
      this.#besiegeSoon();
    });
  }

  /**
   * A leader stands still until another leads, and hears nothing of it when it goes on. One of the routers
   * has lost it meanwhile and finds its successor, the others still ask it.
   */
  #besiege(): void {
    const rng = this.#rng;
    const { network, shards, routers, observer } = this.#cluster;
    const leaders = shards.filter(
      (node) =>
        node.isAlive && !node.isPaused && [...node.replicas()].some((replica) => replica.isReadyLeader),
    );
    if (leaders.length === 0 || shards.length < 3) return;
    const leader = rng.pick(leaders);
    const router = rng.pick(routers);
    observer.note('ambush', `${leader.name} stands still and will not hear of its successor`);
    const open = shards
      .filter((node) => node !== leader)
      .map((node) => network.block(node.name, leader.name));
    open.push(network.block(router.name, leader.name));
    network.breakConnections(router.name, leader.name);
    leader.pause();
    this.#later(rng.between(STILL_MS.low, STILL_MS.high), () => {
      leader.resume();
      this.#later(rng.between(50, 400), () => {
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
