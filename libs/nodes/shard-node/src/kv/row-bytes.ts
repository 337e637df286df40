import { CairnError } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { rowSpansOf } from '@cairn/mvcc';

/** More than any disk has; sums of it are exact. */
const SPAN_BYTES_MAX = 2 ** 50;

/**
 * Rough bytes on disk of all rows of the user keys in [startKey, endKey); recent writes may be missing.
 *
 * @throws CairnError INTERNAL for what is no size: an engine from elsewhere may say anything.
 */
export async function rowBytesOf(
  engine: KvEngine,
  startKey: Uint8Array,
  endKey: Uint8Array,
): Promise<number> {
  let bytes = 0;
  for (const { start, end } of rowSpansOf(startKey, endKey)) {
    const inSpan = await engine.approximateBytes(start, end);
    if (!(inSpan >= 0 && inSpan <= SPAN_BYTES_MAX)) {
      throw new CairnError('INTERNAL', `the engine of this node says that a span has ${inSpan} bytes`);
    }
    bytes += inSpan;
  }
  return bytes;
}
