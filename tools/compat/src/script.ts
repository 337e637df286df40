import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { CairnClient } from '@cairn/client';

/** The longest that there is: whoever reads this data later than that makes it anew. */
const FAR_MS = 3_650 * 24 * 3_600_000;
const SOON_MS = 300;
const ROWS = 60;

/** Bytes that no compression makes short, the same each time. */
function noise(seed: string, bytes: number): Buffer {
  const block = Array.from({ length: 64 }, (_, at) => createHash('sha512').update(`${seed}/${at}`).digest());
  return Buffer.alloc(bytes, Buffer.concat(block));
}

/** Everything that leaves a row, a version, a range or a setting behind, in the same order each time. */
export async function writeFirst(client: CairnClient): Promise<void> {
  await client.putSetting('gc.life_seconds', '30d');
  await client.putSetting('value.max_bytes', '2MiB');
  for (let at = 0; at < ROWS; at += 1) await client.put(`row-${String(at).padStart(3, '0')}`, `value ${at}`);
  await client.put('large', noise('large', 40_000));
  await client.put('empty', '');
  await client.put(Buffer.of(0), 'a key of one zero byte');
  await client.put(Buffer.from('zeros\0\0and\0more'), 'zeros in a key');
  await client.put(Buffer.of(0xfe, 0xff, 0xff), 'the end of the key space');
  for (let version = 1; version <= 4; version += 1) await client.put('rewritten', `version ${version}`);
  await client.delete('row-010');
  await client.deleteRange({ start: 'row-020', end: 'row-025' });
  await client.compareAndSet('compared', { expectedAbsent: true, value: 'made' });
  await client.increment('counter', 41);
  await client.increment('counter');
  await client.writeMany([
    { put: { key: 'batch-1', value: 'one' } },
    { put: { key: 'batch-2', value: 'two' } },
  ]);
  await client.put('expires-far', 'in ten years', { ttlMs: FAR_MS });
  await client.put('expired', 'gone', { ttlMs: SOON_MS });
  await client.put('persisted', 'stays', { ttlMs: FAR_MS });
  await client.persist('persisted');
  await client.put('expires-later', 'given a time');
  await client.expire('expires-later', FAR_MS);
  await client.splitRanges(['row-015', 'row-040']);
  await delay(2 * SOON_MS);
}

/** After a store came back with an empty directory, and got its replicas as snapshots. */
export async function writeSecond(client: CairnClient): Promise<void> {
  for (let at = 0; at < ROWS; at += 7) await client.put(`row-${String(at).padStart(3, '0')}`, `again ${at}`);
  await client.put('after-the-snapshot', noise('after', 3_000));
  await client.delete('row-050');
  await client.increment('counter', 100);
  await client.splitRanges(['row-030']);
}
