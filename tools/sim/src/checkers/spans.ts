import { overlapFaults } from '@cairn/checkers';

import type { SimCluster } from '../cluster.js';

/**
 * No two replicas of a store have keys in common, at any moment: one of them would delete rows of the other.
 */
export function checkSpans(cluster: SimCluster): void {
  for (const node of cluster.shards) {
    const spans = [...node.replicas()].flatMap(({ descriptorOrUndefined }) => descriptorOrUndefined ?? []);
    for (const fault of overlapFaults(spans))
      cluster.observer.violate('spans-disjoint', `${node.name}: ${fault}`);
  }
}
