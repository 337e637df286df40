import type { LoadName } from '@cairn/workloads';

import type { FaultKind } from './nemesis.js';
import type { SimEngineKind } from './node-engine.js';
import type { Violation } from './observer.js';

/** What is drawn from the seed unless a scenario says it. */
export interface ClusterShape {
  /** 1 .. 5. */
  readonly metadataMembers: number;
  /** 1 .. 7; with more than 3, replicas move between them. */
  readonly shardNodes: number;
  /** Of new ranges; 1 .. 7, as many as there are shard nodes if that is less. */
  readonly replicationFactor: number;
  /** 1 .. 3. */
  readonly routers: number;
  readonly rowCacheBytes: number;
  readonly logCacheBytes: number;
  /** Reads of engines take up to this long; 0 = they come at once. */
  readonly engineReadMsMax: number;
  readonly engine: SimEngineKind;
  /** Keys with values of hundreds of kilobytes; 0 = none, and a small log. */
  readonly bigKeys: number;
}

export interface ScenarioOptions {
  readonly seed: string;
  readonly shape?: Partial<ClusterShape>;
  /** Mean virtual time between two faults. Default: drawn from the seed. */
  readonly faultEveryMs?: number;
  /** Nodes are struck as they cut ranges, and where leaders are replaced. Default: drawn from the seed. */
  readonly isWaylaid?: boolean;
  /** Nodes lose power while they carry out a cut. Default: drawn from the seed. */
  readonly breaksCuts?: boolean;
  /** All clients rest at the end of every such period; 0 = never. Default: drawn from the seed. */
  readonly restPeriodMs?: number;
  /** Mean pause of a client between two operations. Default: drawn from the seed. */
  readonly thinkMs?: number;
  /**
   * Somebody writes rows into all namespaces, as transactions and collections will. Default: drawn from the
   * seed.
   */
  readonly isPlanted?: boolean;
  /** A load of transactions beside the ordinary one. Default: drawn from the seed; most have none. */
  readonly workload?: LoadName | 'none';
  /** Ends soon after a checker has found something, for those who only ask whether. Default false. */
  readonly endsAtViolation?: boolean;
  /** undefined: drawn from the seed. Empty: none. */
  readonly faults?: readonly FaultKind[];
  /** Virtual time under faults. Default: drawn from the seed, 1.5 to 20 seconds. */
  readonly durationMs?: number;
  /** Of the ordinary load. Default 5. */
  readonly clients?: number;
}

export interface ScenarioResult {
  readonly seed: string;
  readonly engine: SimEngineKind;
  readonly violations: readonly Violation[];
  readonly faults: number;
  readonly faultKinds: readonly FaultKind[];
  readonly operations: number;
  readonly succeeded: number;
  readonly workload: LoadName | undefined;
  /** Entries with rows of all namespaces that were applied. */
  readonly planted: number;
  readonly ranges: number;
  readonly leaderships: number;
  readonly snapshots: number;
  /** Changes of members that were carried out as asked. */
  readonly moves: number;
  readonly events: number;
  readonly virtualMs: number;
  /** The same for every run of the seed. */
  readonly digest: string;
  readonly tail: readonly string[];
  /** Of a run that failed: how each store stood when that was first seen. */
  readonly stores: readonly string[];
}
