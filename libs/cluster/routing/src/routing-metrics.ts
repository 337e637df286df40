import type { StoreId } from '@cairn/base';
import type { Counter, Metrics } from '@cairn/ports';

export interface RoutingGauges {
  readonly open: number;
  readonly openBytes: number;
  readonly ranges: number;
  readonly searches: number;
  readonly stores: number;
  readonly givenUp: number;
}

/** What the router measures about its way to the shards. */
export class RoutingMetrics {
  readonly #refusals: Counter;
  readonly #givenUp: Counter;

  constructor(metrics: Metrics, gauges: () => RoutingGauges) {
    this.#refusals = metrics.counter(
      'cairn_router_refusals_total',
      'Answers that were no result and were handled inside the router, by reason',
      ['reason'],
    );
    const open = metrics.gauge('cairn_router_open_operations', 'Operations accepted and not answered yet');
    const openBytes = metrics.gauge(
      'cairn_router_open_operation_bytes',
      'Bytes of keys and values of open operations',
    );
    const ranges = metrics.gauge('cairn_router_cached_ranges', 'Ranges whose place is known');
    const searches = metrics.gauge('cairn_router_leader_searches', 'Ranges whose leader is being looked for');
    this.#givenUp = metrics.counter(
      'cairn_router_stores_given_up_total',
      'Times that a shard node was given up for a while, because it hung or failed',
      ['store'],
    );
    const givenUp = metrics.gauge('cairn_router_given_up_stores', 'Shard nodes that are given up now');
    const stores = metrics.gauge('cairn_router_connected_stores', 'Shard nodes connected');
    metrics.onCollect(() => {
      const now = gauges();
      open.set(now.open);
      openBytes.set(now.openBytes);
      ranges.set(now.ranges);
      searches.set(now.searches);
      stores.set(now.stores);
      givenUp.set(now.givenUp);
    });
  }

  gaveUp(store: StoreId): void {
    this.#givenUp.add(1, { store: String(store) });
  }

  refused(reason: string): void {
    this.#refusals.add(1, { reason });
  }
}
