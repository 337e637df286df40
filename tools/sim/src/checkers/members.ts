import type { RangeDescriptor } from '@cairn/base';
import type { ConfigState } from '@cairn/raft';
import type { Replica } from '@cairn/store';

import type { SimCluster } from '../cluster.js';

/** A replica that a store holds, with the members as it knows them. */
export interface HeldReplica {
  readonly node: string;
  readonly replicaId: number;
  /** undefined: it waits for its first state. */
  readonly descriptor: RangeDescriptor | undefined;
}

function isNewer(one: RangeDescriptor, other: RangeDescriptor): boolean {
  const { version, confVersion } = one.epoch;
  return (
    version > other.epoch.version ||
    (version === other.epoch.version && confVersion > other.epoch.confVersion)
  );
}

/** Replicas of one range that the newest of their descriptors does not name: removed, and still there. */
export function strangers(held: readonly HeldReplica[]): HeldReplica[] {
  let newest: RangeDescriptor | undefined;
  for (const { descriptor } of held) {
    if (descriptor !== undefined && (newest === undefined || isNewer(descriptor, newest)))
      newest = descriptor;
  }
  const members = new Set<number>(newest?.replicas.map((member) => member.replicaId) ?? []);
  return held.filter(({ replicaId }) => !members.has(replicaId));
}

/** A replica that was removed from a store never comes back to it: later ones have larger ids. */
export function watchRemovals(cluster: SimCluster): void {
  const removed = new Map<string, number>();
  cluster.observer.onLine((node, event, { range, replicaId }) => {
    const place = `range ${String(range)} at ${node}`;
    const last = removed.get(place) ?? 0;
    const id = Number(replicaId);
    if (event === 'replica removed') removed.set(place, Math.max(last, id));
    if (event === 'replica created, waits for a snapshot' && id <= last)
      cluster.observer.violate('removed-for-good', `${place}: ${id} is back, ${last} was removed`);
  });
}

function membersOf(replica: Replica, descriptor: RangeDescriptor): string {
  const sorted = (ids: readonly number[]): string => ids.toSorted((one, other) => one - other).join();
  const { voters, outgoing, learners, learnersNext } = replica.raft.configState;
  const stores = descriptor.replicas.map(({ replicaId, storeId, role }) => `${replicaId}:${storeId}:${role}`);
  const core = [voters, outgoing, learners, learnersNext].map(sorted).join(' ');
  return `${core} / ${stores.toSorted().join()}`;
}

/** Neither object changes; a change of members comes with new ones. */
interface LastMembers {
  readonly descriptor: RangeDescriptor;
  readonly config: ConfigState;
}

/** What the members of a range are in one of its membership versions is the same everywhere and for good. */
export class MemberLooker {
  readonly #cluster: SimCluster;
  readonly #seen = new Map<string, string>();
  readonly #last = new WeakMap<Replica, LastMembers>();

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  look(): void {
    for (const node of this.#cluster.shards) {
      for (const replica of node.replicas()) {
        const descriptor = replica.descriptorOrUndefined;
        if (descriptor === undefined || replica.isClosed || replica.isApplyBlocked) continue;
        const config = replica.raft.configState;
        const last = this.#last.get(replica);
        if (last?.descriptor === descriptor && last.config === config) continue;
        this.#last.set(replica, { descriptor, config });
        const version = `range ${replica.rangeId} version ${descriptor.epoch.confVersion}`;
        const found = membersOf(replica, descriptor);
        const known = this.#seen.get(version);
        if (known === undefined) this.#seen.set(version, found);
        else if (known !== found)
          this.#cluster.observer.violate(
            'members-agree',
            `${version}: ${found} at ${node.name}, not ${known}`,
          );
      }
    }
  }
}
