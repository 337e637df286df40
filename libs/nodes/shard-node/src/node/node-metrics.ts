import type { RowCache } from '@cairn/mvcc';
import type { Metrics } from '@cairn/ports';
import type { Replica } from '@cairn/store';

import type { ScanCacheBudget } from '../kv/scan-cache.js';

export interface MeasuredParts {
  readonly rowCache: RowCache;
  readonly scanCache: ScanCacheBudget;
  /** Requests refused for their timestamps. */
  refusals(): number;
  replicas(): Iterable<Replica>;
}

/** Gauges of a whole node, set when somebody collects. */
export function measureNode(metrics: Metrics, parts: MeasuredParts): void {
  const replicas = metrics.gauge('cairn_shard_replicas', 'Replicas on this node');
  const leaders = metrics.gauge('cairn_shard_leaders', 'Ranges led by this node');
  const cacheBytes = metrics.gauge('cairn_shard_row_cache_bytes', 'Bytes in the row cache');
  const cacheRows = metrics.gauge('cairn_shard_row_cache_rows', 'Rows in the row cache');
  const hits = metrics.gauge('cairn_shard_row_cache_hits', 'Reads the row cache answered since the start');
  const misses = metrics.gauge(
    'cairn_shard_row_cache_misses',
    'Reads the row cache could not answer since the start',
  );
  const scanBytes = metrics.gauge('cairn_shard_scan_cache_bytes', 'Bytes of scanned rows that are kept');
  const scanHits = metrics.gauge(
    'cairn_shard_scan_cache_hits',
    'Pages answered from kept rows since the start',
  );
  const scanMisses = metrics.gauge(
    'cairn_shard_scan_cache_misses',
    'Pages of whole rows, forward, that the engine was asked for since the start',
  );
  const refusals = metrics.gauge(
    'cairn_shard_refused_timestamps',
    'Requests refused since the start because the oracle has not issued their timestamps',
  );
  metrics.onCollect(() => {
    refusals.set(parts.refusals());
    scanBytes.set(parts.scanCache.bytes);
    scanHits.set(parts.scanCache.hits);
    scanMisses.set(parts.scanCache.misses);
    const all = [...parts.replicas()];
    replicas.set(all.length);
    leaders.set(all.filter((replica) => replica.isReadyLeader).length);
    const stats = parts.rowCache.stats();
    cacheBytes.set(stats.bytes);
    cacheRows.set(stats.entries);
    hits.set(stats.hits);
    misses.set(stats.misses);
  });
}
