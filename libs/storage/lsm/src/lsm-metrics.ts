import { followCount, type Counter, type Metrics } from '@cairn/ports';

import { levelsOf } from './lsm-stats.js';
import type { Run } from './version.js';

/** What is published when somebody collects. */
export interface LsmFacts {
  readonly runs: readonly Run[];
  readonly diskBytes: number;
  readonly memtableBytes: number;
  readonly cacheBytes: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly slowReads: number;
  readonly mergedRows: number;
  readonly isOutOfRoom: boolean;
}

/** The engine's metrics; names shared with the other engines mean the same. */
export class LsmMetrics {
  readonly #writtenBatches: Counter;
  readonly #writtenBytes: Counter;
  readonly #flushes: Counter;

  constructor(metrics: Metrics, facts: () => LsmFacts) {
    this.#writtenBatches = metrics.counter('cairn_engine_written_batches_total', 'Batches written');
    this.#writtenBytes = metrics.counter('cairn_engine_written_bytes_total', 'Key and value bytes written');
    this.#flushes = metrics.counter('cairn_engine_flushes_total', 'Memtables written out');
    const files = metrics.gauge('cairn_engine_table_files', 'Table files per level', ['level']);
    const runs = metrics.gauge('cairn_engine_runs', 'Sorted runs that a read may have to look into');
    const bytes = metrics.gauge(
      'cairn_engine_table_bytes',
      'Bytes of table files that are in use, by readers too',
    );
    const memory = metrics.gauge('cairn_engine_memory_bytes', 'Memory of memtables and caches');
    const hits = followCount(
      metrics.counter('cairn_engine_block_cache_hits_total', 'Blocks that were read from memory'),
    );
    const misses = followCount(
      metrics.counter('cairn_engine_block_cache_misses_total', 'Blocks that were read from files'),
    );
    const slow = followCount(
      metrics.counter('cairn_engine_slow_reads_total', 'Reads that held up the event loop over 1 ms'),
    );
    const merged = followCount(metrics.counter('cairn_engine_merged_rows_total', 'Rows read by merges'));
    const noRoom = metrics.gauge(
      'cairn_engine_waits_for_room',
      '1 while its disk has no room for the engine',
    );
    let levels = 0;
    metrics.onCollect(() => {
      const now = facts();
      const byLevel = levelsOf(now.runs);
      // Levels that got empty are published, too.
      levels = Math.max(levels, byLevel.length);
      for (let level = 0; level < levels; level += 1) {
        files.set(byLevel[level]?.tables ?? 0, { level: String(level) });
      }
      runs.set(now.runs.length);
      bytes.set(now.diskBytes);
      memory.set(now.memtableBytes + now.cacheBytes);
      hits(now.cacheHits);
      misses(now.cacheMisses);
      slow(now.slowReads);
      merged(now.mergedRows);
      noRoom.set(now.isOutOfRoom ? 1 : 0);
    });
  }

  written(bytes: number): void {
    this.#writtenBatches.add(1);
    this.#writtenBytes.add(bytes);
  }

  flushed(): void {
    this.#flushes.add(1);
  }
}
