import type { RangeDescriptor } from '@cairn/base';

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
