import { logIndex, rangeId, term, type MicroBenchmark } from '@cairn/base';
import { noopLogger, noopMetrics } from '@cairn/ports';
import type { Entry } from '@cairn/raft';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { openRaftLog } from './shared-log.js';

const ENTRIES = 64;
/** The log forgets what is older, as a store does, so that the disk in memory stays small. */
const KEPT = 10_000;
const SEGMENT_BYTES = 4 * 1024 * 1024;

/** Entries of 300 bytes on a disk that costs nothing: what is left is our own work. */
export async function benchmarks(): Promise<MicroBenchmark[]> {
  const log = await openRaftLog({
    disk: new SimDisk(new SimRng(1)).attach(),
    directory: '/log',
    clock: new SimScheduler().clockFor('benchmark'),
    rng: new SimRng('log'),
    logger: noopLogger,
    metrics: noopMetrics,
    options: { segmentBytes: SEGMENT_BYTES },
  });
  const range = log.range(rangeId(1));
  const payload = Buffer.alloc(300, 'p');
  const run = async (): Promise<void> => {
    const first = range.lastIndex() + 1;
    const entries = Array.from({ length: ENTRIES }, (_, at): Entry => {
      return { index: logIndex(first + at), term: term(1), kind: 1, payload, record: undefined };
    });
    range.append(entries);
    await log.sync();
    const index = logIndex(range.lastIndex() - KEPT);
    if (index < range.firstIndex() + KEPT) return;
    range.setCheckpoint({ index, term: term(1), state: Buffer.alloc(0) });
    range.truncate(index, term(1));
    await log.sync();
    await log.reclaim();
  };
  return [{ name: `append and sync, ${ENTRIES} at a time`, operations: ENTRIES, run }];
}
