import type { KvEngine } from '@cairn/engine';
import { rowSpansOf } from '@cairn/mvcc';

/** Rough bytes on disk of all rows of the user keys in [startKey, endKey); recent writes may be missing. */
export async function rowBytesOf(
  engine: KvEngine,
  startKey: Uint8Array,
  endKey: Uint8Array,
): Promise<number> {
  let bytes = 0;
  for (const { start, end } of rowSpansOf(startKey, endKey))
    bytes += await engine.approximateBytes(start, end);
  return bytes;
}
