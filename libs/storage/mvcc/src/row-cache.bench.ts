import { NO_BYTES, timestamp, type MicroBenchmark } from '@cairn/base';
import type { VersionRecord } from './record.js';
import { RowCache, rowCacheKey } from './row-cache.js';

const KEYS = 10_000;
const PER_CALL = 100;

function version(sequence: number): VersionRecord {
  return {
    timestamp: timestamp(1_700_000_000_000 + sequence),
    sequence,
    expiry: timestamp(0),
    tombstone: false,
    kind: 0,
    value: Buffer.alloc(256, 'v'),
  };
}

/** Rows of 256 bytes under keys of 16. */
export function benchmarks(): MicroBenchmark[] {
  const keys = Array.from({ length: KEYS }, (_, at) => Buffer.from(`k${String(at).padStart(15, '0')}`));
  const names = keys.map(rowCacheKey);
  const versions = keys.map((_, at) => version(at));
  const cache = new RowCache();
  const put = (at: number): void => {
    const [name, found] = [names[at % KEYS], versions[at % KEYS]];
    if (name !== undefined && found !== undefined) cache.set(name, found);
  };
  for (let at = 0; at < KEYS; at += 1) put(at);
  let next = 0;
  const each = (work: (at: number) => unknown) => (): void => {
    for (let call = 0; call < PER_CALL; call += 1) work((next += 7));
  };
  return [
    {
      name: 'name of a key',
      operations: PER_CALL,
      run: each((at) => rowCacheKey(keys[at % KEYS] ?? NO_BYTES)),
    },
    { name: 'get, found', operations: PER_CALL, run: each((at) => cache.get(names[at % KEYS] ?? '')) },
    { name: 'set, replacing', operations: PER_CALL, run: each(put) },
  ];
}
