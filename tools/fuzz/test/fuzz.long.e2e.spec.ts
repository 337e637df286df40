/**
 * Goal: nothing that a stranger sends ends a process, or reaches others. Method: a short run with a fixed
 * seed.
 */
import { expect, test } from '@jest/globals';
import { runFuzz, TARGETS } from '@cairn/fuzz';

test('a short run of all targets leaves the cluster as it was', async () => {
  const result = await runFuzz({ seed: 'short', durationMs: 25_000, stepsMax: 1_500, targets: TARGETS });
  expect(result.violations).toEqual([]);
  expect(result.steps).toBeGreaterThan(50);
  const names = new Set(result.counts.map(([name]) => name.split('/')[0]));
  for (const what of ['kv-frame', 'raft-frame', 'rpc-frame', 'bulk-frame', 'grpc-message', 'http']) {
    expect(names).toContain(what);
  }
}, 120_000);
