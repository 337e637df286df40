import { timestamp, type Timestamp } from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import { Namespace } from '@cairn/mvcc';

const KEY = Buffer.concat([Buffer.of(Namespace.storeLocal), Buffer.from('kv.safe-point', 'latin1')]);
const VALUE_BYTES = 8;

/**
 * The largest safe point that any range of this store ever collected garbage under. It is written with the
 * purges themselves, so after a restart a range never serves a read below what it purged, whatever the
 * setting says by then. One key for all ranges: their safe points follow the same oracle and differ by
 * little.
 */
export class StoreSafePoint {
  #max: number;

  /** Reads what the engine holds. */
  constructor(engine: KvEngine) {
    const stored = engine.get(KEY);
    this.#max = stored?.length === VALUE_BYTES ? Number(stored.readBigUInt64BE(0)) : 0;
  }

  get max(): Timestamp {
    return timestamp(this.#max);
  }

  /** A command that purges under `safePoint` is applied with this batch. */
  applied(safePoint: Timestamp, batch: EngineBatch): void {
    if (safePoint > this.#max) this.#max = safePoint;
    const value = Buffer.alloc(VALUE_BYTES);
    value.writeBigUInt64BE(BigInt(this.#max));
    batch.put(KEY, value);
  }
}
