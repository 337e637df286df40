import type { LoadName } from '@cairn/workloads';

import type { Bounds } from '../explore/bounds.js';
import type { ClusterShape } from '../scenario-options.js';
import type { FaultKind } from '../nemesis.js';

/**
 * How a defect is looked for: the whole cluster, many replicas of one group over a network that loses, all
 * states of a group within bounds, or a cluster whose nodes get the next release one after the other.
 */
export type MutantRun =
  | {
      readonly type: 'cluster';
      /** Default: drawn from the seed. */
      readonly faults?: readonly FaultKind[];
      /** Mean virtual time between two faults. Default: drawn from the seed. */
      readonly faultEveryMs?: number;
      /** Virtual time under faults. Default 12,000. */
      readonly durationMs?: number;
      readonly shape?: Partial<ClusterShape>;
      /** Nodes are struck right after they cut a range. Default: drawn from the seed. */
      readonly isWaylaid?: boolean;
      /** Nodes lose power while they carry out a cut. Default: drawn from the seed. */
      readonly breaksCuts?: boolean;
      /** Rows are written into all namespaces. Default: no, as most defects show without. */
      readonly isPlanted?: boolean;
      /** This load of transactions alone, in place of the ordinary one. Default: the ordinary one alone. */
      readonly workload?: LoadName;
      /** Clients rest at the end of every such period. Default: drawn from the seed. */
      readonly restPeriodMs?: number;
      /** Mean pause of a client. Default 8. */
      readonly thinkMs?: number;
      /** Of the ordinary load. Default 5. */
      readonly clients?: number;
    }
  | {
      readonly type: 'group';
      /** By how much campaigns may differ in length. Default: drawn from the seed. */
      readonly electionJitterMs?: number;
    }
  | { readonly type: 'explore'; readonly bounds: Partial<Bounds> }
  | { readonly type: 'upgrade' };

/** One place of a file and what stands there instead. */
export interface Edit {
  /** Default: that of the defect. */
  readonly file?: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

/**
 * A deliberate defect: one place of a library in which a promise is broken. The library knows nothing of it;
 * the text is replaced while a child process loads the module.
 */
export interface Mutant {
  /** Lower case with hyphens; what `--only` selects by. */
  readonly name: string;
  /** What the defect does. */
  readonly breaks: string;
  /** What no longer holds because of it. */
  readonly promise: string;
  /** From the root of the repository: `libs/<room>/<name>/src/<file>.ts`. */
  readonly file: string;
  /** Usually one; more where the promise is kept twice. */
  readonly edits: readonly Edit[];
  /** The first seed that is tried; default 1. Saves the time of the many that cannot show it. */
  readonly from?: number;
  /** Default: the whole cluster, as its seed draws it. */
  readonly run?: MutantRun;
}
