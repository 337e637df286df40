import type { DiskOperation, SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from './cluster.js';
import { Datagrams } from './datagrams.js';
import type { EngineOperation } from './engine-faults.js';
import { moreStrikes, type MoreFaultKind } from './faults/more-strikes.js';
import type { Death } from './node-engine.js';
import type { SimNode } from './sim-node.js';

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
  'vanish',
  'half-open',
  'datagrams',
  'disk-full',
  'disk-error',
  'engine-error',
  'bit-rot',
  'clock-step',
] as const;
type FirstFaultKind = (typeof FAULT_KINDS)[number];
export type FaultKind = FirstFaultKind | MoreFaultKind;

/** Operations of a disk that fail, the frequent ones more often. */
const FAILING_OPERATIONS: readonly DiskOperation[] = [
  ...(['write', 'write', 'write', 'sync', 'read', 'read'] as const),
  ...(['open', 'rename', 'remove', 'sync-directory'] as const),
];
const FAILING_ENGINE_OPERATIONS: readonly EngineOperation[] = ['write', 'flush', 'read'];
/** Files that rot: those a node reads again and answers for. */
const ROTTING = /segment-|\.spool$|node\.json$|\.lsm$|manifest-/;
/** Frames are cut at 4 MiB; the last message before the cut may be a large value. */
const FRAME_BYTES_LIMIT = 5.5 * 1024 * 1024;
/** Whoever looks after the machines needs this long when the nemesis is over. */
const RESTART_MS = 500;

export interface NemesisOptions {
  readonly kinds: readonly FaultKind[];
  /** Mean virtual time between two faults. */
  readonly everyMs: number;
  /** Names of processes that only use the cluster; partitions may cut them off, too. */
  readonly clients: readonly string[];
}

/** Breaks things at random until `heal`. Every fault ends by itself after a while, but for rot. */
export class Nemesis {
  readonly #cluster: SimCluster;
  readonly #rng: SimRng;
  readonly #options: NemesisOptions;
  readonly #datagrams: Datagrams;
  readonly #undo = new Set<() => void>();
  /** The only node whose data rots, so that all others together still have everything. */
  #rotting: SimNode | undefined;
  readonly #strikes: Readonly<Record<FaultKind, () => void>>;
  #isOn = false;
  faults = 0;

  constructor(cluster: SimCluster, options: NemesisOptions) {
    this.#cluster = cluster;
    this.#rng = cluster.rng.fork('nemesis');
    this.#options = options;
    const names = new Set(cluster.nodes.map(({ name }) => name));
    this.#datagrams = new Datagrams(cluster.network, cluster.rng.fork('datagrams'), (frame, from, to) => {
      if (frame.length > FRAME_BYTES_LIMIT && names.has(from) && names.has(to))
        cluster.observer.violate('frame-size', `${from} sends ${to} a frame of ${frame.length} bytes`);
    });
    const more = moreStrikes({
      ...{ cluster, rng: cluster.rng.fork('more-strikes') },
      note: (text) => {
        this.#note(text);
      },
      later: (delayMs, undo) => {
        this.#later(delayMs, undo);
      },
      storing: () => this.#storing(),
      everybody: () => this.#everybody(),
      restart: (node) => {
        this.#restart(node);
      },
    });
    this.#strikes = { ...this.#firstStrikes, ...more };
    for (const node of cluster.nodes) {
      node.onEnded = () => {
        this.#restart(node);
      };
    }
  }

  start(): void {
    this.#isOn = true;
    if (this.#options.kinds.length > 0) this.#next();
  }

  #next(): void {
    this.#cluster.scheduler.schedule(this.#rng.next() * 2 * this.#options.everyMs, () => {
      if (!this.#isOn) return;
      this.#strikes[this.#rng.pick(this.#options.kinds)]();
      this.#next();
    });
  }

  /** What each kind of fault does. */
  readonly #firstStrikes: Readonly<Record<FirstFaultKind, () => void>> = {
    'power-loss': () => {
      this.#kill(this.#anyNode(), 'power');
    },
    'process-death': () => {
      this.#kill(this.#anyNode(), 'process');
    },
    'graceful-stop': () => {
      this.#stopGracefully();
    },
    pause: () => {
      const node = this.#anyNode();
      this.faults += 1;
      node.pause();
      this.#later(this.#rng.between(10, 2_500), () => {
        node.resume();
      });
    },
    partition: () => {
      const [left, right] = this.#twoSides();
      this.#note(`cuts ${left.join()} from ${right.join()}`);
      this.#later(this.#rng.between(100, 5_000), this.#cluster.network.partition(left, right));
    },
    'one-way': () => {
      const [one, other] = this.#pair();
      this.#note(`blocks ${one} to ${other}`);
      this.#later(this.#rng.between(100, 5_000), this.#cluster.network.block(one, other));
    },
    flap: () => {
      const [one, other] = this.#pair();
      this.#note(`flaps ${one} and ${other}`);
      const times = { upMs: this.#rng.between(20, 500), downMs: this.#rng.between(20, 700) };
      this.#later(this.#rng.between(500, 6_000), this.#cluster.network.flap(one, other, times));
    },
    'break-connections': () => {
      const [one, other] = this.#pair();
      this.#note(`breaks ${one} and ${other}`);
      this.#cluster.network.breakConnections(one, other);
    },
    latency: () => {
      const [one, other] = this.#pair();
      const low = this.#rng.between(0.5, 40);
      this.#note(`slows ${one} to ${other}`);
      this.#cluster.network.setPathLatency(one, other, [low, low * 3]);
      this.#later(this.#rng.between(500, 5_000), () => {
        this.#cluster.network.setPathLatency(one, other, undefined);
      });
    },
    'disk-stall': () => {
      const node = this.#storing();
      this.#note(`stalls the disk of ${node.name}`);
      node.disk.stallUntil(this.#cluster.scheduler.nowMs + this.#rng.between(20, 2_000));
    },
    vanish: () => {
      const node = this.#anyNode();
      const noticeMs = this.#rng.between(500, 10_000);
      if (node.isAlive) this.#cluster.network.hideNextDeath(node.name, noticeMs);
      this.#kill(node, 'power');
    },
    'half-open': () => {
      const [one, other] = this.#pair();
      this.#note(`leaves connections of ${other} to ${one} half open`);
      this.#cluster.network.breakOneSide(one, other, this.#rng.between(100, 8_000));
    },
    datagrams: () => {
      this.#mistreatDatagrams();
    },
    'disk-full': () => {
      const node = this.#storing();
      const room = this.#rng.pick([0, 4_096, 12_000, 40_000]);
      this.#note(`fills the disk of ${node.name} but for ${room} bytes`);
      this.#later(this.#rng.between(200, 6_000), node.fill(room));
    },
    'disk-error': () => {
      const node = this.#storing();
      const operation = this.#rng.pick(FAILING_OPERATIONS);
      this.#note(`lets a ${operation} fail on the disk of ${node.name}`);
      const code = 'IO_ERROR';
      node.disk.injectFault({ operation, code, pathPart: '/data', after: this.#rng.integer(12) });
      this.#later(this.#rng.between(500, 5_000), () => {
        node.disk.clearFaults();
      });
    },
    'engine-error': () => {
      const node = this.#storing();
      const operation = this.#rng.pick(FAILING_ENGINE_OPERATIONS);
      this.#note(`lets a ${operation} fail in the engine of ${node.name}`);
      node.engineFaults.arm(operation, this.#rng.integer(operation === 'flush' ? 2 : 20));
      this.#later(this.#rng.between(500, 5_000), () => {
        node.engineFaults.clear();
      });
    },
    'bit-rot': () => {
      this.#letRot();
    },
    'clock-step': () => {
      const node = this.#anyNode();
      const byMs = Math.round(this.#rng.between(-30_000, 30_000));
      this.#note(`sets the clock of ${node.name} by ${byMs} ms`);
      node.stepWallClock(byMs);
    },
  };

  #note(text: string): void {
    this.faults += 1;
    this.#cluster.observer.note('nemesis', text);
  }

  #stopGracefully(): void {
    const shard = this.#rng.pick(this.#cluster.shards);
    if (!shard.isAlive || shard.isPaused) return;
    this.#note(`stops ${shard.name}`);
    // Handing over takes a while; it may end after everything was healed.
    shard.stop(() => {
      if (this.#isOn) {
        this.#later(this.#rng.between(1, 3_000), () => {
          revive(shard);
        });
      } else {
        revive(shard);
      }
    });
  }

  #mistreatDatagrams(): void {
    const lose = this.#rng.pick([0, 0.02, 0.2, 0.5]);
    const duplicate = this.#rng.pick([0, 0.1, 0.3]);
    const delay = this.#rng.pick([0, 0.05, 0.2]);
    const delayMsMax = this.#rng.pick([2, 50, 1_000]);
    this.#note(
      `loses ${lose}, doubles ${duplicate}, delays ${delay} of all datagrams by up to ${delayMsMax} ms`,
    );
    this.#datagrams.set({ lose, duplicate, delay, delayMsMax });
    this.#later(this.#rng.between(500, 6_000), () => {
      this.#datagrams.set(undefined);
    });
  }

  /** Flips a bit of one node whose data others have, too, and lets it look at it soon, half of the time. */
  #letRot(): void {
    const node = (this.#rotting ??= this.#chooseRotting());
    if (node === undefined || node.isLost) return;
    const rotten = node.disk.rot((path) => ROTTING.test(path));
    if (rotten === undefined) return;
    this.#note(`flips a bit of ${node.name}: ${rotten.path} at ${rotten.position}`);
    if (this.#rng.chance(0.5)) this.#kill(node, this.#rng.pick(['power', 'process']));
  }

  #chooseRotting(): SimNode | undefined {
    const { metadata, shards, replicationFactor } = this.#cluster;
    const able: SimNode[] = [];
    if (metadata.length >= 3) able.push(...metadata);
    if (replicationFactor >= 3) able.push(...shards);
    return able.length === 0 ? undefined : this.#rng.pick(able);
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
    this.#restart(node);
  }

  #restart(node: SimNode): void {
    const again = (): void => {
      revive(node);
    };
    if (this.#isOn) this.#later(this.#rng.between(1, 3_000), again);
    else this.#cluster.scheduler.schedule(RESTART_MS, again);
  }

  #anyNode(): SimNode {
    return this.#rng.pick(this.#cluster.nodes);
  }

  /** A node with data. */
  #storing(): SimNode {
    return this.#rng.pick([...this.#cluster.metadata, ...this.#cluster.shards]);
  }

  /** A node, and anybody. */
  #pair(): [string, string] {
    return [this.#anyNode().name, this.#rng.pick(this.#everybody())];
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
