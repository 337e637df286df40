import { CairnError, checkFormat, timestamp, type Timestamp } from '@cairn/base';
import { isEndSealed, sealEnd } from '@cairn/codec';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import { Namespace } from '@cairn/mvcc';

const KEY = Buffer.concat([Buffer.of(Namespace.storeLocal), Buffer.from('kv.safe-point', 'latin1')]);
/** Format u8 | safe point u64, big endian | CRC-32 of what is before it, as in every later format. */
const VALUE_BYTES = 13;
/** Read from `min` on, written as `max`. */
const FORMATS = { min: 1, max: 1 };

/**
 * The largest safe point that any range of this store ever collected garbage under. It is written with the
 * purges themselves, so after a restart a range never serves a read below what it purged, whatever the
 * setting says by then. One key for all ranges: their safe points follow the same oracle and differ by
 * little.
 */
export class StoreSafePoint {
  #max: number;

  /** Reads what the engine holds. Throws FORMAT_TOO_NEW for what a later release wrote, CORRUPTION. */
  constructor(engine: KvEngine) {
    const stored = engine.get(KEY);
    this.#max = stored === undefined ? 0 : decode(stored);
  }

  get max(): Timestamp {
    return timestamp(this.#max);
  }

  /** A command that purges under `safePoint` is applied with this batch. */
  applied(safePoint: Timestamp, batch: EngineBatch): void {
    if (safePoint > this.#max) this.#max = safePoint;
    const value = Buffer.alloc(VALUE_BYTES);
    value[0] = FORMATS.max;
    value.writeBigUInt64BE(BigInt(this.#max), 1);
    batch.put(KEY, sealEnd(value));
  }
}

function decode(value: Buffer): number {
  if (!isEndSealed(value)) {
    throw new CairnError('CORRUPTION', 'the safe point of a store does not match its checksum');
  }
  checkFormat('the safe point of a store', value[0] ?? 0, FORMATS);
  if (value.length === VALUE_BYTES) return Number(value.readBigUInt64BE(1));
  throw new CairnError('CORRUPTION', `the safe point of a store has ${value.length} bytes`);
}
