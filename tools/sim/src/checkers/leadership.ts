import { LeaderTerms } from '@cairn/checkers';

import type { SimCluster } from '../cluster.js';

/** Feeds the checker from what the nodes log when leadership changes. */
export function watchLeaderTerms(cluster: SimCluster): LeaderTerms {
  const terms = new LeaderTerms();
  cluster.observer.onLine((node, event, fields) => {
    if (event !== 'leadership changed' || fields['isLeader'] !== true) return;
    const kind = node.startsWith('meta') ? 'metadata' : 'range';
    const fault = terms.took(`${kind} ${String(fields['range'])}`, Number(fields['term']), node);
    if (fault !== undefined) cluster.observer.violate('one-leader-per-term', fault);
  });
  return terms;
}

/** Leases of one range held at one moment; more than one means two nodes may serve reads at once. */
export function checkLeases(cluster: SimCluster): void {
  for (const nodes of [cluster.metadata, cluster.shards]) {
    const holders = new Map<number, string>();
    for (const node of nodes) {
      const { clock, store } = node;
      // One that stands still serves nothing, whatever its clock shows.
      if (clock === undefined || store === undefined || node.isPaused) continue;
      for (const replica of store.replicas()) {
        if (!replica.hasLease(clock.nowMs())) continue;
        const other = holders.get(replica.rangeId);
        if (other !== undefined) {
          cluster.observer.violate('lease-disjoint', `range ${replica.rangeId}: ${other} and ${node.name}`);
        }
        holders.set(replica.rangeId, node.name);
      }
    }
  }
}
