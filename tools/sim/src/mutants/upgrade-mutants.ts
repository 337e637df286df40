import type { Mutant, MutantRun } from './mutant.js';

const ROLLING: MutantRun = { type: 'upgrade' };
const UPGRADE = 'libs/cluster/metadata/src/upgrade.ts';

/** What a cluster of two releases must not do. */
export const UPGRADE_MUTANTS: readonly Mutant[] = [
  {
    name: 'gate-opened-before-all-nodes-know',
    breaks: 'the cluster version rises as soon as one node knows what comes with it',
    promise: 'nothing is written that a node of the cluster could not read',
    file: UPGRADE,
    edits: [
      {
        find: 'common = Math.min(common, clusterVersions.max);',
        replace: 'common = newest;',
      },
    ],
    run: ROLLING,
  },
  {
    name: 'silent-node-overlooked',
    breaks: 'the cluster version rises while somebody is away, whatever release it will run when it is back',
    promise: 'a node that runs the release before is never left outside for good without a word to anybody',
    file: UPGRADE,
    edits: [
      {
        find: 'const isWaiting = nodes.silent.length > 0 || !isSettled;',
        replace: 'const isWaiting = !isSettled;',
      },
    ],
    run: ROLLING,
  },
  {
    name: 'gate-open-in-memory-alone',
    breaks: 'a shard node opens its gates and does not write down that it has',
    promise: 'a gate that was open is open after every restart, whoever is reached then',
    file: 'libs/nodes/shard-node/src/node/heard-version.ts',
    edits: [{ find: 'await writeClusterVersion(disk, directory, clusterVersion);', replace: '' }],
    run: ROLLING,
  },
  {
    name: 'build-of-a-restart-forgotten',
    breaks: 'a shard node that comes back is taken for what its first start ran',
    promise: 'the cluster version rises when every node knows what comes with it, and not before',
    file: 'libs/cluster/metadata/src/membership.ts',
    edits: [
      {
        find: 'publicAddress, start, process, build, clusterVersions };',
        replace: 'publicAddress, start, process };',
      },
    ],
    run: ROLLING,
  },
];
