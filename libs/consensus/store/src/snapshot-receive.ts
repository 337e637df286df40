import { CairnError, formatTooNew, type RangeDescriptor, type StoreId } from '@cairn/base';
import type { Clock, Disk } from '@cairn/ports';

import type { ReceivedSpools } from './received-spools.js';
import { decodeSnapshotHeader, type SnapshotHeader } from './snapshot-frames.js';
import { Incoming } from './snapshot-incoming.js';
import type { SnapshotOffers } from './snapshot-offers.js';
import type { EngineSpan } from './state-machine.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMetrics } from './store-metrics.js';

export interface SnapshotReceiverParts {
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly config: StoreConfig;
  readonly metrics: StoreMetrics;
  readonly spools: Pick<ReceivedSpools, 'offer'>;
  readonly offers: Pick<SnapshotOffers, 'refusalOf' | 'step'>;
  /** Where the rows of such a range are. */
  spansOf(descriptor: RangeDescriptor): readonly EngineSpan[];
  /** Throws for a state that no machine here can take over. */
  checkVolatileState(volatileState: Uint8Array): void;
  /** What cannot happen did: the store must stop. */
  fatal(error: unknown): void;
}

/** A snapshot on its way in. Calls follow one another. */
export interface IncomingSnapshot {
  /** Adds one chunk to the spool; throws CORRUPTION when it is damaged or has rows of another range. */
  chunk(rows: Buffer): Promise<void>;
  /** The stream is complete: makes the spool durable and offers the snapshot to the core. */
  finish(chunks: number): Promise<void>;
  /** The stream ended, however: what the core has not taken is removed, and the place is free. */
  abandon(): Promise<void>;
}

/**
 * Receives snapshots. The stream goes to a spool file first, so that replacing the rows of a range can start
 * over after a crash (see `SnapshotInstaller`). Until the installation begins, the replica goes on with what
 * it has.
 *
 * A stream has one of `snapshotReceivesMax` places for as long as it makes progress and stays below its
 * bounds: `snapshotBytesMax`, and the space on the disk, which must take the rows twice: in the spool, and in
 * the engine while the spool is there.
 */
export class SnapshotReceiver {
  readonly #parts: SnapshotReceiverParts;
  #receiving = 0;
  /** Streams begun in this life; part of the spools' names. */
  #streams = 0;

  constructor(parts: SnapshotReceiverParts) {
    this.#parts = parts;
  }

  /**
   * Accepts a stream of a session of the store `from`; `stalled` is told when it has made too little
   * progress. Throws RESOURCE_EXHAUSTED, FAILED_PRECONDITION, FORMAT_TOO_NEW, CORRUPTION or DISK_FULL with
   * the reason for the sender.
   */
  async begin(
    headerBytes: Buffer,
    from: StoreId,
    stalled: (error: CairnError) => void,
  ): Promise<IncomingSnapshot> {
    const { config, disk, directory, metrics } = this.#parts;
    const header = decodeSnapshotHeader(headerBytes);
    if (this.#receiving >= config.snapshotReceivesMax) {
      metrics.snapshot('refused');
      throw new CairnError('RESOURCE_EXHAUSTED', 'another snapshot is being received');
    }
    this.#throwIfRefused(header, from);
    this.#throwIfTooNew(header);
    this.#receiving += 1;
    this.#streams += 1;
    // Never the name of a spool that is being installed: a sender that heard no answer sends the same
    // snapshot again.
    const path = `${directory}/${header.rangeId}-${header.meta.index}-${this.#streams}.spool`;
    const spans = this.#parts.spansOf(header.descriptor);
    const incoming = new Incoming(this.#parts, { header, path, spans, stalled }, () => {
      this.#receiving -= 1;
    });
    try {
      await incoming.throwIfNoSpace(header.rowBytes, 2 * header.rowBytes);
      await disk.remove(path);
      await incoming.open(headerBytes);
    } catch (error) {
      await incoming.abandon();
      throw error;
    }
    return {
      chunk: (rows) => {
        // A leader that was deposed may still be sending: its stream must not hold the place of the next
        // one's.
        this.#throwIfRefused(header, from);
        return incoming.chunk(rows);
      },
      finish: async (announced) => {
        await incoming.complete(announced);
        // Much may have changed while the rows came in. From here on nothing waits: the core decides.
        this.#throwIfRefused(header, from);
        if (this.#offer(header, path, from)) await incoming.handOver();
        else await incoming.abandon();
      },
      abandon: () => incoming.abandon(),
    };
  }

  #throwIfRefused(header: SnapshotHeader, from: StoreId): void {
    const reason = this.#parts.offers.refusalOf(header, from);
    if (reason === undefined) return;
    this.#parts.metrics.snapshot('refused');
    throw new CairnError('FAILED_PRECONDITION', reason);
  }

  /**
   * Rows that nobody here deletes, splits or counts would stay behind; and a state that the machine cannot
   * take over would be found out about when its rows are gone.
   */
  #throwIfTooNew({ descriptor, namespaces, volatileState }: SnapshotHeader): void {
    const known = this.#parts.spansOf(descriptor).map(({ start }) => start[0]);
    const unknown = namespaces.filter((namespace) => !known.includes(namespace));
    try {
      if (unknown.length > 0) {
        throw formatTooNew(`a snapshot with rows of the namespaces ${unknown.join(', ')}`);
      }
      this.#parts.checkVolatileState(volatileState);
    } catch (error) {
      this.#parts.metrics.snapshot('refused');
      throw error;
    }
  }

  /** Whether the core takes it: then its `Ready` asks for the installation. */
  #offer(header: SnapshotHeader, path: string, from: StoreId): boolean {
    const { rangeId, from: sender, to, term, meta } = header;
    return this.#parts.spools.offer({ header, path }, () =>
      this.#parts.offers.step(from, rangeId, { type: 'snapshot', from: sender, to, term, meta }),
    );
  }

  /** An assertion failed while a stream was worked on, perhaps half way through the core. */
  fatal(error: unknown): void {
    this.#parts.fatal(error);
  }
}
