import type { MicroBenchmark } from '@cairn/base';
import { TestCluster } from './testing/index.js';

const ENTRIES = 64;
/** A cluster in memory keeps its whole log: a new one after so many rounds. */
const ROUNDS_MAX = 1_000;

function ledCluster(): TestCluster {
  const cluster = TestCluster.of(3);
  cluster.get(1).node.campaign(cluster.nowMs);
  cluster.stabilize();
  return cluster;
}

/** Proposals until three replicas have applied them, with the checks of the test cluster. */
export function benchmarks(): MicroBenchmark[] {
  const payload = Buffer.alloc(300, 'p');
  let cluster = ledCluster();
  let rounds = 0;
  const run = (): void => {
    rounds += 1;
    if (rounds % ROUNDS_MAX === 0) cluster = ledCluster();
    const { node } = cluster.get(1);
    for (let at = 0; at < ENTRIES; at += 1) node.propose(payload);
    cluster.stabilize();
  };
  return [
    { name: `append and acknowledge on three replicas, ${ENTRIES} at a time`, operations: ENTRIES, run },
  ];
}
