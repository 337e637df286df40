import { CairnError, messageOf, rangeId, replicaId, rethrowInvariant, type RangeId } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { chooseSplitKeys } from '@cairn/placement';
import type { Logger } from '@cairn/ports';
import type { Replica, Store } from '@cairn/store';

import type { KvMachine } from '../kv/kv-machine.js';
import { ledReplica } from './led-replica.js';
import type { MetadataAccess } from './metadata-access.js';
import { sampleKeys } from './sample-keys.js';

/** Cuts one command makes by itself; an operator may ask for more at once. */
const SPLIT_KEYS_MAX = 16;

export interface SplitSizes {
  /** A range above this is cut. */
  readonly splitBytes: number;
  /** The pieces of a range that is cut are about as large as this. */
  readonly targetBytes: number;
}

/** What is asked of the machine of a range. */
export type SplitRange = Pick<KvMachine, 'replica' | 'descriptor' | 'load'>;

export interface RangeSplitterParts {
  readonly engine: KvEngine;
  readonly logger: Logger;
  readonly metadata: MetadataAccess;
  readonly store: Store;
  readonly machines: ReadonlyMap<RangeId, SplitRange>;
  sizes(): SplitSizes;
}

/**
 * Cuts ranges that are led here: those that have grown too large, one at a time, and those an operator names.
 *
 * Timeline: docs/timelines/split.md
 */
export class RangeSplitter {
  readonly #parts: RangeSplitterParts;
  #isBusy = false;

  constructor(parts: RangeSplitterParts) {
    this.#parts = parts;
  }

  /** Looks for a range that is too large among these and begins to cut it. */
  poll(machines: readonly SplitRange[]): void {
    if (this.#isBusy) return;
    for (const machine of machines) {
      const { replica, load } = machine;
      const tooLarge = Math.max(this.#parts.sizes().splitBytes, load.unsplittableBelowBytes);
      if (load.bytes <= tooLarge || !replica.isReadyLeader || replica.isFrozen) continue;
      this.#isBusy = true;
      this.#splitLarge(replica.rangeId)
        .catch((error: unknown) => {
          rethrowInvariant(error);
          this.#parts.logger.info('range not split', { range: replica.rangeId, reason: messageOf(error) });
        })
        .finally(() => {
          this.#isBusy = false;
        });
      return;
    }
  }

  async #splitLarge(id: RangeId): Promise<void> {
    const machine = this.#parts.machines.get(id);
    if (machine === undefined) return;
    const { descriptor } = machine;
    const { engine } = this.#parts;
    await engine.flush();
    const samples = await sampleKeys(engine, descriptor, machine.load.bytes);
    const { splitBytes, targetBytes } = this.#parts.sizes();
    const decision = chooseSplitKeys({
      startKey: descriptor.startKey,
      endKey: descriptor.endKey,
      samples,
      splitBytes,
      targetBytes,
      keysMax: SPLIT_KEYS_MAX,
    });
    if (!decision.decided) {
      machine.load.unsplittableBelowBytes = machine.load.bytes + targetBytes;
      return;
    }
    await this.#cut(id, descriptor.epoch.version, decision.keys);
  }

  /**
   * Cuts one range at the keys. Throws NOT_LEADER, EPOCH_MISMATCH, INVALID_ARGUMENT (a key outside) or what
   * the metadata service answers.
   */
  async splitAt(id: RangeId, version: number, keys: readonly Uint8Array[]): Promise<number> {
    const replica = ledReplica(this.#parts.store, id);
    checkCuts(replica, version, keys);
    await this.#parts.engine.flush();
    return this.#cut(id, version, keys);
  }

  /**
   * The engine was flushed just before: applying the split flushes it again while the range is frozen, and
   * must not find much.
   */
  async #cut(id: RangeId, version: number, keys: readonly Uint8Array[]): Promise<number> {
    const replica = ledReplica(this.#parts.store, id);
    const members = replica.descriptor.replicas.length;
    const first = await this.#parts.metadata.allocateIds(keys.length * (members + 1));
    const ids = keys.map((_, at) => {
      const base = first + at * (members + 1);
      return {
        rangeId: rangeId(base),
        replicaIds: Array.from({ length: members }, (__, member) => replicaId(base + 1 + member)),
      };
    });
    await this.#parts.store.splitRange(id, version, keys, ids);
    this.#parts.logger.info('range split', { range: id, children: keys.length });
    return keys.length;
  }
}

/** Before ids are taken and the engine is flushed for a split that cannot be. */
function checkCuts({ descriptor }: Replica, version: number, keys: readonly Uint8Array[]): void {
  if (descriptor.epoch.version !== version) throw new CairnError('EPOCH_MISMATCH', 'the range has changed');
  let before = descriptor.startKey;
  for (const key of keys) {
    const isInside = descriptor.endKey.length === 0 || Buffer.compare(key, descriptor.endKey) < 0;
    if (!isInside || Buffer.compare(before, key) >= 0) {
      throw new CairnError('INVALID_ARGUMENT', 'keys to cut at lie inside the range and ascend');
    }
    before = key;
  }
}
