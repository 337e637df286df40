import type { SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from './cluster.js';
import type { Death, SimNode } from './sim-node.js';

export const FAULT_KINDS = [
  'power-loss',
  'process-death',
  'graceful-stop',
  'pause',
  'partition',
  'one-way',
  'flap',
  'break-connections',
  'latency',
  'disk-stall',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface NemesisOptions {
  readonly kinds: readonly FaultKind[];
  /** Mean virtual time between two faults. */
  readonly everyMs: number;
  /** Names of processes that only use the cluster; partitions may cut them off, too. */
  readonly clients: readonly string[];
}

/** Breaks things at random until `heal`. Every fault ends by itself after a while. */
export class Nemesis {
  readonly #cluster: SimCluster;
  readonly #rng: SimRng;
  readonly #options: NemesisOptions;
  readonly #undo = new Set<() => void>();
  #isOn = false;
  faults = 0;

  constructor(cluster: SimCluster, options: NemesisOptions) {
    this.#cluster = cluster;
    this.#rng = cluster.rng.fork('nemesis');
    this.#options = options;
  }

  start(): void {
    this.#isOn = true;
    if (this.#options.kinds.length > 0) this.#next();
  }

  #next(): void {
    this.#cluster.scheduler.schedule(this.#rng.next() * 2 * this.#options.everyMs, () => {
      if (!this.#isOn) return;
      this.#strike(this.#rng.pick(this.#options.kinds));
      this.#next();
    });
  }

  #strike(kind: FaultKind): void {
    if (kind !== 'power-loss' && kind !== 'process-death') this.faults += 1;
    const { network, observer } = this.#cluster;
    const rng = this.#rng;
    const node = rng.pick(this.#cluster.nodes);
    switch (kind) {
      case 'power-loss':
      case 'process-death':
        this.#kill(node, kind === 'power-loss' ? 'power' : 'process');
        return;
      case 'graceful-stop': {
        const shard = rng.pick(this.#cluster.shards);
        if (!shard.isAlive || shard.isPaused) return;
        observer.note('nemesis', `stops ${shard.name}`);
        // Handing over takes a while; it may end after everything was healed.
        shard.stop(() => {
          if (this.#isOn) {
            this.#later(rng.between(1, 3_000), () => {
              revive(shard);
            });
          } else {
            revive(shard);
          }
        });
        return;
      }
      case 'pause':
        node.pause();
        this.#later(rng.between(10, 2_500), () => {
          node.resume();
        });
        return;
      case 'partition': {
        const [left, right] = this.#twoSides();
        observer.note('nemesis', `cuts ${left.join()} from ${right.join()}`);
        this.#later(rng.between(100, 5_000), network.partition(left, right));
        return;
      }
      case 'one-way': {
        const other = rng.pick(this.#everybody());
        observer.note('nemesis', `blocks ${node.name} to ${other}`);
        this.#later(rng.between(100, 5_000), network.block(node.name, other));
        return;
      }
      case 'flap': {
        const other = rng.pick(this.#everybody());
        observer.note('nemesis', `flaps ${node.name} and ${other}`);
        const times = { upMs: rng.between(20, 500), downMs: rng.between(20, 700) };
        this.#later(rng.between(500, 6_000), network.flap(node.name, other, times));
        return;
      }
      case 'break-connections': {
        const other = rng.pick(this.#everybody());
        observer.note('nemesis', `breaks ${node.name} and ${other}`);
        network.breakConnections(node.name, other);
        return;
      }
      case 'disk-stall':
        observer.note('nemesis', `stalls the disk of ${node.name}`);
        node.disk.stallUntil(this.#cluster.scheduler.nowMs + rng.between(20, 2_000));
        return;
      case 'latency': {
        const other = rng.pick(this.#everybody());
        const low = rng.between(0.5, 40);
        observer.note('nemesis', `slows ${node.name} to ${other}`);
        network.setPathLatency(node.name, other, [low, low * 3]);
        this.#later(rng.between(500, 5_000), () => {
          network.setPathLatency(node.name, other, undefined);
        });
      }
    }
  }

  /** A range was just cut: the moments after are the ones in which a power loss hurts most. */
  rangeWasCut(): void {
    if (!this.#isOn || !this.#options.kinds.includes('power-loss') || this.#rng.chance(0.4)) return;
    this.#cluster.scheduler.schedule(this.#rng.between(0, 80), () => {
      if (this.#isOn) this.#kill(this.#rng.pick(this.#cluster.shards), 'power');
    });
  }

  #kill(node: SimNode, death: Death): void {
    if (!node.isAlive) return;
    this.faults += 1;
    node.die(death);
    this.#later(this.#rng.between(1, 3_000), () => {
      revive(node);
    });
  }

  #everybody(): string[] {
    return [...this.#cluster.nodes.map((node) => node.name), ...this.#options.clients];
  }

  #twoSides(): [string[], string[]] {
    const left: string[] = [];
    const right: string[] = [];
    for (const name of this.#everybody()) (this.#rng.chance(0.4) ? left : right).push(name);
    return [left, right];
  }

  /** Ends a fault after a while, or when everything is healed. */
  #later(delayMs: number, undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#cluster.scheduler.schedule(delayMs, once);
  }

  /** Ends all faults: every path is open, every node runs. */
  heal(): void {
    this.#isOn = false;
    for (const undo of [...this.#undo]) undo();
    for (const node of this.#cluster.nodes) revive(node);
    this.#cluster.observer.note('nemesis', 'healed');
  }
}

function revive(node: SimNode): void {
  node.resume();
  if (!node.isAlive) node.start();
}
