import type { SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from '../cluster.js';
import type { SimNode } from '../sim-node.js';
import { HostilePeer } from './hostile-peer.js';

/**
 * Faults of what is slow, lies, or is not read; drawn apart from the others, so that those stay as they were.
 */
export const MORE_FAULT_KINDS = [
  'slow-disk',
  'slow-engine',
  'flipped-frames',
  'deaf-reader',
  'hostile-peer',
  'clock-leap',
  'suspend',
  'lost-directory',
] as const;
export type MoreFaultKind = (typeof MORE_FAULT_KINDS)[number];

/** What a wall clock leaps by when it leaps. */
const LEAP_MS = 6 * 3_600_000;

export interface StrikeTools {
  readonly cluster: SimCluster;
  readonly rng: SimRng;
  readonly note: (text: string) => void;
  /** Ends a fault after a while, or when everything is healed. */
  readonly later: (delayMs: number, undo: () => void) => void;
  /** A node with data. */
  readonly storing: () => SimNode;
  everybody(): string[];
  /** Restarts the machine some time later. */
  readonly restart: (node: SimNode) => void;
}

/** What each of these kinds does. */
export function moreStrikes(tools: StrikeTools): Readonly<Record<MoreFaultKind, () => void>> {
  const { cluster, rng, note, later } = tools;
  let isLost = false;
  const liar = new HostilePeer(cluster, rng.fork('liar'));
  return {
    'slow-disk': () => {
      const node = tools.storing();
      const mostMs = rng.pick([5, 50, 500, 2_000]);
      note(`slows the disk of ${node.name} by up to ${mostMs} ms`);
      node.disk.setExtraMs([mostMs / 4, mostMs]);
      later(rng.between(500, 6_000), () => {
        node.disk.setExtraMs(undefined);
      });
    },
    'slow-engine': () => {
      const node = tools.storing();
      const slowMs = rng.pick([5, 50, 500, 2_000]);
      note(`slows writes of the engine of ${node.name} to ${slowMs} ms`);
      node.engineFaults.slowMs = slowMs;
      later(rng.between(500, 6_000), () => {
        node.engineFaults.slowMs = 0;
      });
    },
    'flipped-frames': () => {
      const chance = rng.pick([0.001, 0.01, 0.1]);
      note(`flips a bit of one in ${1 / chance} frames`);
      // Calls of clients travel without a checksum of their own here; over sockets they have TLS.
      const names = new Set(cluster.nodes.map(({ name }) => name));
      cluster.network.setFlipChance(chance, (from, to) => names.has(from) && names.has(to));
      later(rng.between(200, 3_000), () => {
        cluster.network.setFlipChance(0);
      });
    },
    'deaf-reader': () => {
      const reader = rng.pick(tools.everybody());
      const sender = rng.pick(cluster.nodes).name;
      note(`lets ${reader} read nothing of what ${sender} sends`);
      later(rng.between(200, 6_000), cluster.network.stopReading(reader, sender));
    },
    'hostile-peer': () => {
      const said = liar.visit(rng.pick([...cluster.metadata, ...cluster.shards]));
      if (said !== undefined) note(said);
    },
    suspend: () => {
      const node = rng.pick(cluster.nodes);
      if (!node.isAlive || node.isPaused) return;
      const fromMs = cluster.scheduler.nowMs;
      note(`suspends ${node.name}`);
      node.pause();
      const sleepsMs = rng.between(200, 2_500);
      // Half of the time its network comes back later than the machine.
      const others = tools.everybody().filter((name) => name !== node.name);
      if (rng.chance(0.5))
        later(sleepsMs + rng.between(0, 1_000), cluster.network.partition([node.name], others));
      later(sleepsMs, () => {
        // Whatever its clock's speed: it lost no more than that.
        node.wake((cluster.scheduler.nowMs - fromMs) * 0.95);
      });
    },
    'lost-directory': () => {
      // One of a run, and only where the others have everything.
      const node = rng.pick(cluster.shards);
      const isSafe = cluster.replicationFactor >= 3 && cluster.shards.every((each) => !each.isLost);
      if (isLost || !isSafe || node.store === undefined) return;
      isLost = true;
      note(`loses the directory of ${node.name}`);
      node.replacesStoreId = node.storeId;
      node.die('power');
      node.loseDirectory();
      tools.restart(node);
    },
    'clock-leap': () => {
      // Of few enough members that the others are the majority.
      const [member] = cluster.metadata;
      if (member === undefined || cluster.metadata.length < 3) return;
      const byMs = Math.round(rng.between(-LEAP_MS, LEAP_MS));
      note(`sets the clock of ${member.name} by ${byMs} ms`);
      member.stepWallClock(byMs);
    },
  };
}
