import type { Observer } from '../observer.js';
import type { SimCluster } from '../cluster.js';

/** At most one leader per term and range: hears of every leadership that any node takes up. */
export class LeaderTerms {
  readonly #leaders = new Map<string, string>();
  readonly #observer: Observer;

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  took(group: string, term: number, leader: string): void {
    const place = `${group} in term ${term}`;
    const other = this.#leaders.get(place);
    if (other !== undefined && other !== leader) {
      this.#observer.violate('one-leader-per-term', `${place}: ${other} and ${leader}`);
    }
    this.#leaders.set(place, leader);
  }

  get count(): number {
    return this.#leaders.size;
  }
}

/** Feeds the checker from what the nodes log when leadership changes. */
export function watchLeaderTerms(cluster: SimCluster): LeaderTerms {
  const terms = new LeaderTerms(cluster.observer);
  cluster.observer.onLine((node, event, fields) => {
    if (event !== 'leadership changed' || fields['isLeader'] !== true) return;
    const kind = node.startsWith('meta') ? 'metadata' : 'range';
    terms.took(`${kind} ${String(fields['range'])}`, Number(fields['term']), node);
  });
  return terms;
}

/** Leases of one range held at one moment; more than one means two nodes may serve reads at once. */
export function checkLeases(cluster: SimCluster): void {
  for (const nodes of [cluster.metadata, cluster.shards]) {
    const holders = new Map<number, string>();
    for (const node of nodes) {
      const { clock, store } = node;
      if (clock === undefined || store === undefined) continue;
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
