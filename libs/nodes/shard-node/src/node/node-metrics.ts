import type { RowCache } from '@cairn/mvcc';
import { followCount, type Metrics } from '@cairn/ports';
import type { Replica } from '@cairn/store';

import type { StoreChanges } from '../kv/changes/store-changes.js';
import type { StoreReservations } from '../kv/reservations/store-reservations.js';
import type { ScanCacheBudget } from '../kv/scan-cache.js';

export interface MeasuredParts {
  readonly rowCache: RowCache;
  readonly scanCache: ScanCacheBudget;
  readonly changes: StoreChanges;
  readonly reservations: StoreReservations;
  /** Requests refused for their timestamps. */
  refusals(): number;
  replicas(): Iterable<Replica>;
}

/** Metrics of a whole node, brought up to date when somebody collects. */
export function measureNode(metrics: Metrics, parts: MeasuredParts): void {
  const replicas = metrics.gauge('cairn_shard_replicas', 'Replicas on this node');
  const leaders = metrics.gauge('cairn_shard_leaders', 'Ranges led by this node');
  const cacheBytes = metrics.gauge('cairn_shard_row_cache_bytes', 'Bytes in the row cache');
  const cacheRows = metrics.gauge('cairn_shard_row_cache_rows', 'Rows in the row cache');
  const hits = followCount(
    metrics.counter('cairn_shard_row_cache_hits_total', 'Reads the row cache answered'),
  );
  const misses = followCount(
    metrics.counter('cairn_shard_row_cache_misses_total', 'Reads the row cache could not answer'),
  );
  const scanBytes = metrics.gauge('cairn_shard_scan_cache_bytes', 'Bytes of scanned rows that are kept');
  const scanHits = followCount(
    metrics.counter('cairn_shard_scan_cache_hits_total', 'Pages answered from kept rows'),
  );
  const scanMisses = followCount(
    metrics.counter(
      'cairn_shard_scan_cache_misses_total',
      'Pages of whole rows, forward, that the engine was asked for',
    ),
  );
  const refusals = followCount(
    metrics.counter(
      'cairn_shard_refused_timestamps_total',
      'Requests refused because the oracle has not issued their timestamps',
    ),
  );
  measureChanges(metrics, parts.changes);
  measureReservations(metrics, parts.reservations);
  metrics.onCollect(() => {
    refusals(parts.refusals());
    scanBytes.set(parts.scanCache.bytes);
    scanHits(parts.scanCache.hits);
    scanMisses(parts.scanCache.misses);
    const all = [...parts.replicas()];
    replicas.set(all.length);
    leaders.set(all.filter((replica) => replica.isReadyLeader).length);
    const stats = parts.rowCache.stats();
    cacheBytes.set(stats.bytes);
    cacheRows.set(stats.entries);
    hits(stats.hits);
    misses(stats.misses);
  });
}

function measureReservations(metrics: Metrics, reservations: StoreReservations): void {
  const { budget } = reservations;
  const held = metrics.gauge(
    'cairn_shard_reservations',
    'Keys that transactions have locked before they commit',
  );
  const bytes = metrics.gauge('cairn_shard_reservation_bytes', 'Bytes of what is kept of them, estimated');
  const waiters = metrics.gauge('cairn_shard_reservation_waiters', 'Transactions that wait for such keys');
  const timedOut = followCount(
    metrics.counter(
      'cairn_shard_reservation_waits_timed_out_total',
      'Answers to transactions that such a key had not become free in time, after which they may ask again',
    ),
  );
  metrics.onCollect(() => {
    held.set(budget.reservations);
    bytes.set(budget.bytes);
    waiters.set(budget.waiters);
    timedOut(reservations.timedOut);
  });
}

function measureChanges(metrics: Metrics, { budget, counts, held }: StoreChanges): void {
  const rings = metrics.gauge('cairn_shard_change_rings', 'Ranges whose latest changes are kept for routers');
  const ringBytes = metrics.gauge(
    'cairn_shard_change_ring_bytes',
    'Bytes of changes that are kept, estimated',
  );
  const waiting = metrics.gauge(
    'cairn_shard_held_questions',
    'Questions for changes that wait for something new',
  );
  const answers = metrics.counter(
    'cairn_shard_change_answers_total',
    'Answers to questions for changes, by what they were made of',
    ['source'],
  );
  const of = (source: string): ReturnType<typeof followCount> =>
    followCount({
      add: (value) => {
        answers.add(value, { source });
      },
    });
  const fromRing = of('ring');
  const fromEngine = of('engine');
  const resets = of('reset');
  const told = followCount(metrics.counter('cairn_shard_changes_total', 'Changes that routers were told'));
  metrics.onCollect(() => {
    rings.set(budget.count);
    ringBytes.set(budget.bytes);
    waiting.set(held.count);
    fromRing(counts.fromRing);
    fromEngine(counts.fromEngine);
    resets(counts.resets);
    told(counts.changes);
  });
}
