import { rangeId, replicaId, storeId, type MicroBenchmark, type RangeDescriptor } from '@cairn/base';
import { RangeCache } from './range-cache.js';

const KEYS = 1_000;

function boundary(at: number, ranges: number): Buffer {
  return at === 0 || at === ranges ? Buffer.alloc(0) : Buffer.from(`k${String(at).padStart(15, '0')}`);
}

function descriptorAt(at: number, ranges: number): RangeDescriptor {
  return {
    rangeId: rangeId(at + 1),
    startKey: boundary(at, ranges),
    endKey: boundary(at + 1, ranges),
    epoch: { version: 1, confVersion: 1 },
    replicas: [1, 2, 3].map((store) => ({
      replicaId: replicaId(at * 3 + store),
      storeId: storeId(store),
      role: 'voter',
    })),
  };
}

function lookup(ranges: number): MicroBenchmark {
  const cache = new RangeCache();
  for (let at = 0; at < ranges; at += 1) cache.insert(descriptorAt(at, ranges), storeId(1));
  // Spread over the ranges in an order that the branch predictor does not know.
  const keys = Array.from({ length: KEYS }, (_, at) =>
    Buffer.from(`k${String((at * 7_919) % ranges).padStart(15, '0')}`),
  );
  return {
    name: `find among ${ranges} ranges`,
    operations: KEYS,
    run: () => {
      let found = 0;
      for (const key of keys) if (cache.find(key) !== undefined) found += 1;
      return found;
    },
  };
}

/** The lookup that the router does for every operation. */
export function benchmarks(): MicroBenchmark[] {
  return [1, 1_000, 10_000].map(lookup);
}
