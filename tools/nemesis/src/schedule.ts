import { SimRng } from '@cairn/runtime-sim';
import type { FaultName } from './options.js';

/** A fault that is going to strike. */
export interface PlannedFault {
  readonly name: FaultName;
  /** From the beginning of the run. */
  readonly atMs: number;
  readonly durationMs: number;
  /** Names of nodes; a partition cuts these off from all others. */
  readonly victims: readonly string[];
  /** Where the fault leaves something to chance: 0 .. 2^32 - 1. */
  readonly chance: number;
}

/** Processes and files are struck by one lane, networks and disks by the other: they meet by chance. */
export interface Schedule {
  readonly processes: readonly PlannedFault[];
  readonly surroundings: readonly PlannedFault[];
}

const SURROUNDINGS: readonly FaultName[] = [
  ...(['cut', 'deaf', 'mute', 'partition', 'slow', 'flap', 'disk-full'] as const),
];

const FIRST_MS = 1_500;
const GAP_MS = [1_000, 4_000] as const;
/** Below the lease of 400 ms for the short pause, far above every timeout for the long one. */
const DURATIONS_MS: Readonly<Record<FaultName, readonly [number, number]>> = {
  kill: [0, 4_000],
  terminate: [0, 2_000],
  'pause-short': [80, 390],
  'pause-long': [700, 6_000],
  'kill-all': [0, 1_500],
  'flip-log': [1_000, 3_000],
  'flip-engine': [2_000, 4_000],
  cut: [300, 6_000],
  deaf: [500, 6_000],
  mute: [500, 6_000],
  partition: [500, 6_000],
  slow: [2_000, 6_000],
  flap: [2_000, 6_000],
  'disk-full': [2_000, 6_000],
};

/** What the nodes are called, and which of them has the small disk. */
export interface Targets {
  readonly metadata: readonly string[];
  readonly shards: readonly string[];
  readonly routers: readonly string[];
  readonly smallDisk: string | undefined;
}

function shuffled<Item>(rng: SimRng, items: readonly Item[]): Item[] {
  const left = [...items];
  return items.map(() => left.splice(rng.integer(left.length), 1)[0] as Item);
}

function victimsOf(rng: SimRng, name: FaultName, targets: Targets): readonly string[] {
  const all = [...targets.metadata, ...targets.shards, ...targets.routers];
  // Shard nodes twice: most of what can go wrong is theirs.
  const weighted = [...all, ...targets.shards];
  switch (name) {
    case 'kill-all':
      return all;
    case 'flip-log':
      return [rng.pick([...targets.metadata, ...targets.shards])];
    case 'flip-engine':
      return [rng.pick(targets.shards)];
    case 'disk-full':
      return targets.smallDisk === undefined ? [] : [targets.smallDisk];
    case 'partition':
      return shuffled(rng, all).slice(0, 1 + rng.integer(all.length - 1));
    case 'kill':
    case 'terminate':
    case 'pause-short':
    case 'pause-long':
    case 'cut':
    case 'deaf':
    case 'mute':
    case 'slow':
    case 'flap':
      return [rng.pick(weighted)];
  }
}

function lane(rng: SimRng, names: readonly FaultName[], targets: Targets, endMs: number): PlannedFault[] {
  const planned: PlannedFault[] = [];
  let bag: FaultName[] = [];
  for (let atMs = FIRST_MS + rng.between(0, 1_000); names.length > 0; atMs += rng.between(...GAP_MS)) {
    // Every fault once before any of them again.
    if (bag.length === 0) bag = shuffled(rng, names);
    const name = bag.pop() as FaultName;
    const durationMs = Math.round(rng.between(...DURATIONS_MS[name]));
    if (atMs + durationMs > endMs) break;
    const victims = victimsOf(rng, name, targets);
    planned.push({ name, atMs: Math.round(atMs), durationMs, victims, chance: rng.uint32() });
    atMs += durationMs;
  }
  return planned;
}

/** Everything that strikes in a run: the same seed, faults, nodes and length give the same schedule. */
export function planFaults(
  seed: string,
  names: readonly FaultName[],
  targets: Targets,
  lengthMs: number,
): Schedule {
  const rng = new SimRng(seed);
  const isSurrounding = (name: FaultName): boolean => SURROUNDINGS.includes(name);
  const processes = names.filter((name) => !isSurrounding(name));
  const surroundings = names.filter(isSurrounding);
  return {
    processes: lane(rng.fork('processes'), processes, targets, lengthMs),
    surroundings: lane(rng.fork('surroundings'), surroundings, targets, lengthMs),
  };
}
