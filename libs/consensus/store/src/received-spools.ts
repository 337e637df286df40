import {
  assert,
  messageOf,
  rethrowInvariant,
  type LogIndex,
  type RangeDescriptor,
  type RangeId,
} from '@cairn/base';
import type { Disk, Logger } from '@cairn/ports';

import { covers, overlap } from './range-spans.js';
import type { SnapshotHeader } from './snapshot-frames.js';

/** A received snapshot in its file. */
export interface Spool {
  readonly header: SnapshotHeader;
  readonly path: string;
}

/**
 * Complete spools that cores have accepted, one for each range, until they are installed, or their replica is
 * gone. From the beginning of an installation on the log names the file: it outlasts what the log says.
 */
export class ReceivedSpools {
  readonly #disk: Pick<Disk, 'remove'>;
  readonly #logger: Logger;
  readonly #spools = new Map<RangeId, Spool>();

  constructor(disk: Pick<Disk, 'remove'>, logger: Logger) {
    this.#disk = disk;
    this.#logger = logger;
  }

  /**
   * Keeps the spool if `accept` answers that the core takes it, which asks for its installation then. False
   * when another one waits.
   */
  offer(spool: Spool, accept: () => boolean): boolean {
    const { rangeId } = spool.header;
    if (this.#spools.has(rangeId)) return false;
    this.#spools.set(rangeId, spool);
    let isTaken = false;
    try {
      isTaken = accept();
    } finally {
      if (!isTaken) this.#spools.delete(rangeId);
    }
    return isTaken;
  }

  /** Whether one is to cover the key. */
  isCovered(key: Uint8Array): boolean {
    return [...this.#spools.values()].some(({ header }) => covers(header.descriptor, key));
  }

  /** One of another range that is to share keys with the span. */
  overlapping(span: RangeDescriptor): { readonly rangeId: RangeId } | undefined {
    for (const { header } of this.#spools.values())
      if (header.rangeId !== span.rangeId && overlap(header.descriptor, span)) return header;
    return undefined;
  }

  /** The one that is to be installed now. It stays until `remove`. */
  toInstall(rangeId: RangeId, index: LogIndex): Spool {
    const spool = this.#spools.get(rangeId);
    assert(spool !== undefined && spool.header.meta.index === index, 'no spool for an accepted snapshot', {
      range: rangeId,
    });
    return spool;
  }

  /**
   * The log says durably that the snapshot is installed, or that its replica is gone: no start looks for the
   * file any more. Without a spool there is nothing to do.
   */
  async remove(rangeId: RangeId): Promise<void> {
    const spool = this.#spools.get(rangeId);
    if (spool === undefined) return;
    try {
      await this.#disk.remove(spool.path);
    } catch (error) {
      rethrowInvariant(error);
      // The next start removes it.
      this.#logger.warn('spool of a snapshot not removed', {
        path: spool.path,
        reason: messageOf(error),
      });
    }
    this.#spools.delete(rangeId);
  }
}
