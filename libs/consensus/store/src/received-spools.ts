import { assert, messageOf, rethrowInvariant, type LogIndex, type RangeId } from '@cairn/base';
import type { Disk, Logger } from '@cairn/ports';

import type { SnapshotHeader } from './snapshot-frames.js';

/** A received snapshot in its file. */
export interface Spool {
  readonly header: SnapshotHeader;
  readonly path: string;
}

/** Complete spools that the core has accepted and the next turn installs: one for each range. */
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

  /** The one that is to be installed now. */
  take(rangeId: RangeId, index: LogIndex): Spool {
    const spool = this.#spools.get(rangeId);
    assert(spool !== undefined && spool.header.meta.index === index, 'no spool for an accepted snapshot', {
      range: rangeId,
    });
    this.#spools.delete(rangeId);
    return spool;
  }

  /** The replica is gone before its core could ask for the installation. */
  forget(rangeId: RangeId): void {
    const spool = this.#spools.get(rangeId);
    if (spool === undefined) return;
    this.#spools.delete(rangeId);
    this.#disk.remove(spool.path).catch((error: unknown) => {
      rethrowInvariant(error);
      // The next start removes it.
      this.#logger.warn('spool of a snapshot not removed', {
        path: spool.path,
        reason: messageOf(error),
      });
    });
  }
}
