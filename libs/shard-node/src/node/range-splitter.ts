import { CairnError, messageOf, rangeId, replicaId, type RangeDescriptor, type RangeId } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { isSameUserKey, userKeyOfVersionKey, versionSpanOf } from '@cairn/mvcc';
import { chooseSplitKeys, type KeySample } from '@cairn/placement';
import type { Logger } from '@cairn/ports';
import type { Replica, Store } from '@cairn/store';

import type { KvService } from '../kv/kv-service.js';
import type { MetadataAccess } from './metadata-access.js';

const ROWS_PER_STEP = 1000;
/** One sample per this many bytes: fine enough for a cut near the middle, small enough to keep. */
const SAMPLE_BYTES = 256 * 1024;
/** Cuts one command makes by itself; an operator may ask for more at once. */
const SPLIT_KEYS_MAX = 16;

export interface SplitSizes {
  /** A range above this is cut. Default 96 MiB. */
  readonly splitBytes: number;
  /** Into pieces of about this. Default 64 MiB. */
  readonly targetBytes: number;
}

export interface RangeSplitterParts {
  readonly engine: KvEngine;
  readonly logger: Logger;
  readonly metadata: MetadataAccess;
  store(): Store;
  service(): KvService;
  sizes(): SplitSizes;
}

/**
 * Cuts ranges that are led here: those that have grown too large, one at a time, and those an operator names.
 */
export class RangeSplitter {
  readonly #parts: RangeSplitterParts;
  #isBusy = false;

  constructor(parts: RangeSplitterParts) {
    this.#parts = parts;
  }

  /** Looks for a range that is too large and begins to cut it. Called about once a second. */
  poll(): void {
    if (this.#isBusy) return;
    for (const machine of this.#parts.service().machines()) {
      const { replica } = machine;
      if (machine.load.bytes <= this.#parts.sizes().splitBytes || !replica.isReadyLeader || replica.isFrozen)
        continue;
      this.#isBusy = true;
      this.#splitLarge(replica.rangeId)
        .catch((error: unknown) => {
          this.#parts.logger.info('range not split', { range: replica.rangeId, reason: messageOf(error) });
        })
        .finally(() => {
          this.#isBusy = false;
        });
      return;
    }
  }

  async #splitLarge(id: RangeId): Promise<void> {
    const machine = this.#parts.service().machine(id);
    if (machine === undefined) return;
    const { descriptor } = machine;
    const samples = await this.#sample(descriptor);
    const bytes = samples.reduce((sum, sample) => sum + sample.bytes, 0);
    const { splitBytes, targetBytes } = this.#parts.sizes();
    // Now the size is known, not estimated: many versions of few keys look larger than they are.
    machine.load.bytes = bytes;
    const decision = chooseSplitKeys({
      startKey: descriptor.startKey,
      endKey: descriptor.endKey,
      samples,
      splitBytes,
      targetBytes,
      keysMax: SPLIT_KEYS_MAX,
    });
    if (!decision.decided) return;
    await this.splitAt(id, descriptor.epoch.version, decision.keys);
  }

  /**
   * Cuts one range at the keys. Throws NOT_LEADER, EPOCH_MISMATCH, INVALID_ARGUMENT (a key outside) or what
   * the metadata service answers.
   */
  async splitAt(id: RangeId, version: number, keys: readonly Uint8Array[]): Promise<number> {
    const replica = this.#parts.store().replica(id);
    if (replica?.isReadyLeader !== true) throw notLed(replica);
    const members = replica.descriptor.replicas.length;
    const first = await this.#parts.metadata.allocateIds(keys.length * (members + 1));
    const ids = keys.map((_, at) => {
      const base = first + at * (members + 1);
      return {
        rangeId: rangeId(base),
        replicaIds: Array.from({ length: members }, (__, member) => replicaId(base + 1 + member)),
      };
    });
    await this.#parts.store().splitRange(id, version, keys, ids);
    this.#parts.logger.info('range split', { range: id, children: keys.length });
    return keys.length;
  }

  /** Keys and the bytes between them, from one pass over the span. */
  async #sample(descriptor: RangeDescriptor): Promise<KeySample[]> {
    const samples: KeySample[] = [];
    const iterator = this.#parts.engine.iterate(versionSpanOf(descriptor.startKey, descriptor.endKey));
    let first: Buffer | undefined;
    let last: Buffer | undefined;
    let bytes = 0;
    const close = (): void => {
      if (first !== undefined) samples.push({ key: Buffer.from(userKeyOfVersionKey(first)), bytes });
      first = undefined;
      bytes = 0;
    };
    try {
      for (;;) {
        const rows = await iterator.next(ROWS_PER_STEP);
        if (rows.length === 0) break;
        for (const [key, value] of rows) {
          // A sample ends only between user keys: all versions of one key stay on one side of a cut.
          if (bytes >= SAMPLE_BYTES && last !== undefined && !isSameUserKey(last, key)) close();
          first ??= key;
          last = key;
          bytes += key.length + value.length;
        }
      }
    } finally {
      await iterator.close();
    }
    close();
    return samples;
  }
}

function notLed(replica: Replica | undefined): CairnError {
  return new CairnError('NOT_LEADER', 'the range is not led by this node', {
    details: { leaderStoreId: replica?.leaderStoreId ?? 0 },
  });
}
