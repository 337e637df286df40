import type { Counter, Metrics } from '@cairn/ports';

export interface GarbageMetrics {
  readonly passes: Counter;
  readonly examined: Counter;
  readonly purgedVersions: Counter;
  readonly examinedRecords: Counter;
  readonly purgedRecords: Counter;
  readonly purgedBytes: Counter;
}

/** `ripeBytes` answers what all ranges of the store could probably free now; asked once per scrape. */
export function garbageMetrics(metrics: Metrics, ripeBytes: () => number): GarbageMetrics {
  const ripe = metrics.gauge(
    'cairn_shard_gc_ripe_bytes',
    'Estimated bytes of versions past their life that are not collected yet',
  );
  metrics.onCollect(() => {
    ripe.set(Math.round(ripeBytes()));
  });
  return {
    passes: metrics.counter('cairn_shard_gc_passes_total', 'Garbage collections of a range', ['result']),
    examined: metrics.counter(
      'cairn_shard_gc_examined_versions_total',
      'Versions that garbage collection looked at',
    ),
    purgedVersions: metrics.counter(
      'cairn_shard_gc_purged_versions_total',
      'Versions that garbage collection removed',
    ),
    examinedRecords: metrics.counter(
      'cairn_shard_gc_examined_records_total',
      'Records and marks of transactions that garbage collection looked at',
    ),
    purgedRecords: metrics.counter(
      'cairn_shard_gc_purged_records_total',
      'Records and marks of transactions that garbage collection removed',
    ),
    purgedBytes: metrics.counter('cairn_shard_gc_purged_bytes_total', 'Bytes of the rows removed'),
  };
}
