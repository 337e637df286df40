import type { Counter, Metrics } from '@cairn/ports';

export interface RoutingGauges {
  readonly open: number;
  readonly openBytes: number;
  readonly ranges: number;
  readonly stores: number;
}

/** What the router measures about its way to the shards. */
export class RoutingMetrics {
  readonly #refusals: Counter;

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
    const stores = metrics.gauge('cairn_router_connected_stores', 'Shard nodes connected');
    metrics.onCollect(() => {
      const now = gauges();
      open.set(now.open);
      openBytes.set(now.openBytes);
      ranges.set(now.ranges);
      stores.set(now.stores);
    });
  }

  refused(reason: string): void {
    this.#refusals.add(1, { reason });
  }
}
