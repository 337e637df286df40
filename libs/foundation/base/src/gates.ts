import { CairnError } from './errors.js';
import { isWithin, rangeText, type VersionRange } from './version.js';

/**
 * Everything that nodes of an older release would misread, and the cluster version from which on it may be
 * written: commands of the log, rows of the metadata service, frames that mean something, formats on disk. A
 * reader knows what its build knows, whatever the gates say; a writer asks its gate. Append only; a gate goes
 * when the oldest release that is upgraded from runs with its version, and its number is not used again.
 *
 * Versions: 1 = the first formats, 2 = `storeNoop`, 3 = `gcHolds`, `transactions`,
 * `changeStreams`. No release stopped at
 * 1: the first one has a gate, so that builds that stop below it show in tests and in the simulator what
 * an upgrade does.
 */
const OPENS_AT = {
  /**
   * A store command that says nothing. It shows that every replica of a range reads what the version brought.
   */
  storeNoop: 2,
  /** Rows of the metadata service: holds, and the safe point of garbage collection. */
  gcHolds: 3,
  /** Locks and records of transactions, and the requests that make them. */
  transactions: 3,
  /** Questions for changes, which no earlier build answers. */
  changeStreams: 3,
} as const satisfies Readonly<Record<string, number>>;

export type Gate = keyof typeof OPENS_AT;

/** In the order in which they were added. */
export const GATES = Object.keys(OPENS_AT) as readonly Gate[];

/** The cluster versions that this build runs with: its own, and that of the release before. */
export const CLUSTER_VERSIONS: VersionRange = { min: 1, max: 3 };

/** The cluster version from which on what the gate stands before may be written. */
export function opensAt(gate: Gate): number {
  return OPENS_AT[gate];
}

/** What a part that writes gated formats is handed. */
export interface GateView {
  /** The highest cluster version that this node has heard of; 0 = none yet. */
  readonly clusterVersion: number;
  /**
   * Once true, true as long as the process lives, whatever is heard later. A node that starts again has what
   * it knew as soon as the file or the state that holds the version is read, before it answers anybody; a
   * router hears it anew.
   */
  isOpen(gate: Gate): boolean;
}

/** The gates of one node, opened by whoever hears of the cluster version. */
export class Gates implements GateView {
  #clusterVersion: number;

  constructor(clusterVersion: number) {
    this.#clusterVersion = clusterVersion;
  }

  get clusterVersion(): number {
    return this.#clusterVersion;
  }

  isOpen(gate: Gate): boolean {
    return this.#clusterVersion >= OPENS_AT[gate];
  }

  /** What is lower was heard late, and changes nothing. */
  raise(clusterVersion: number): void {
    this.#clusterVersion = Math.max(this.#clusterVersion, clusterVersion);
  }
}

/** A node as sentences name it. */
export interface NamedBuild {
  /** `shard "shard-1"`. */
  readonly who: string;
  readonly build: string;
  readonly clusterVersions: VersionRange;
}

/** Why a node of that build must not take part in a cluster at that version; undefined when it may. */
export function versionMisfit(node: NamedBuild, clusterVersion: number): CairnError | undefined {
  if (clusterVersion === 0 || isWithin(clusterVersion, node.clusterVersions)) return undefined;
  const { who, build, clusterVersions } = node;
  const versions = `cluster version${clusterVersions.min === clusterVersions.max ? '' : 's'}`;
  const remedy =
    clusterVersion > clusterVersions.max
      ? 'start it with a later release'
      : 'upgrade it by way of a release that runs with both';
  return new CairnError(
    'FAILED_PRECONDITION',
    `${who} is Cairn ${build} and runs with ${versions} ${rangeText(clusterVersions)}, and the cluster is at ` +
      `version ${clusterVersion}: ${remedy}`,
  );
}
