/**
 * How Node is to run a process of the cluster. Most of what a busy process allocates lives outside of the
 * JavaScript heap (frames, pages), and V8 takes its growth for a reason to collect a heap in which next to
 * nothing has died. Letting the heap grow further before a full collection, within a young generation of
 * fixed size, was worth a fifth of the throughput of writes and a quarter of its p99 (docs/performance.md).
 *
 * V8 may also decide, from what it saw while a cluster started, to make requests and answers in the old
 * generation from then on. They live for milliseconds, and whatever they point to stays with them until the
 * next full collection; so it is told not to (decision 0021).
 */
export const NODE_FLAGS: readonly string[] = [
  '--enable-source-maps',
  '--heap-growing-percent=500',
  '--max-semi-space-size=8',
  '--no-allocation-site-pretenuring',
];

/**
 * How glibc is to keep memory: frames and pages come and go in pieces that it would otherwise hold on to, in
 * as many heaps as there are threads. It saved 30 to 60 MiB of each shard node under load, and cost nothing
 * that could be measured. Other allocators take no notice.
 */
export const NODE_ENVIRONMENT: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_TRIM_THRESHOLD_: '1048576',
};
