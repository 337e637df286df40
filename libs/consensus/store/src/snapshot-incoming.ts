import { CairnError } from '@cairn/base';
import type { Clock, Disk, Timer } from '@cairn/ports';

import { decodeSnapshotRows, type SnapshotHeader } from './snapshot-frames.js';
import { SpoolWriter } from './snapshot-spool.js';
import type { EngineSpan } from './state-machine.js';
import type { StoreConfig } from './store-config.js';

/** While a spool grows, the space that is left is looked at this often. */
const SPACE_CHECK_BYTES = 16 * 1024 * 1024;

export interface IncomingParts {
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly config: StoreConfig;
}

export interface Stream {
  readonly header: SnapshotHeader;
  readonly path: string;
  /** Where the rows of the range are. */
  readonly spans: readonly EngineSpan[];
  stalled(error: CairnError): void;
}

/** One stream, from its place among those that are received until the core has its spool or it is removed. */
export class Incoming {
  readonly #parts: IncomingParts;
  readonly #stream: Stream;
  readonly #freePlace: () => void;
  #writer: SpoolWriter | undefined;
  #progressTimer: Timer | undefined;
  #chunks = 0;
  #bytesAtLook = 0;
  #bytesAtSpaceCheck = 0;
  /** The disk is at work: what does not arrive meanwhile is not the sender's fault. */
  #isWriting = false;
  #state: 'open' | 'complete' | 'over' = 'open';

  constructor(parts: IncomingParts, stream: Stream, freePlace: () => void) {
    this.#parts = parts;
    this.#stream = stream;
    this.#freePlace = freePlace;
  }

  async open(headerBytes: Buffer): Promise<void> {
    this.#writer = new SpoolWriter(await this.#parts.disk.open(this.#stream.path, { mode: 'write' }));
    await this.#writer.part(headerBytes);
    this.#watch();
  }

  #watch(): void {
    const { clock, config } = this.#parts;
    this.#progressTimer = clock.setTimer(config.snapshotProgressMs, () => {
      if (this.#state !== 'open') return;
      const bytes = this.#writer?.bytes ?? 0;
      if (!this.#isWriting && bytes - this.#bytesAtLook < config.snapshotProgressBytes) {
        this.#stream.stalled(
          new CairnError(
            'DEADLINE_EXCEEDED',
            `${bytes - this.#bytesAtLook} bytes of the snapshot came in ${config.snapshotProgressMs} ms, ` +
              `${config.snapshotProgressBytes} are the least`,
          ),
        );
        return;
      }
      this.#bytesAtLook = bytes;
      this.#watch();
    });
  }

  /** `needed` are still to be written: what is left of the spool, and the rows while the spool is there. */
  async throwIfNoSpace(bytes: number, needed: number): Promise<void> {
    const { config, directory, disk } = this.#parts;
    if (bytes > config.snapshotBytesMax) {
      throw new CairnError(
        'FAILED_PRECONDITION',
        `a snapshot of ${bytes} bytes is longer than ${config.snapshotBytesMax}`,
      );
    }
    const free = await disk.freeBytes(directory);
    if (needed + config.snapshotFreeBytesMin <= free) return;
    throw new CairnError(
      'DISK_FULL',
      `a snapshot of ${bytes} bytes, of which ${needed} are still to be written, would leave less than ` +
        `${config.snapshotFreeBytesMin} of ${free} free bytes`,
    );
  }

  async chunk(bytes: Buffer): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined || this.#state !== 'open') {
      throw new CairnError('FAILED_PRECONDITION', 'the snapshot has ended');
    }
    for (const [key] of decodeSnapshotRows(bytes)) {
      if (!this.#stream.spans.some((span) => isInside(span, key))) {
        throw new CairnError(
          'CORRUPTION',
          `the snapshot has a row outside range ${this.#stream.header.rangeId}`,
        );
      }
    }
    const total = writer.bytes + bytes.length;
    if (total > this.#parts.config.snapshotBytesMax) await this.throwIfNoSpace(total, total);
    this.#isWriting = true;
    try {
      if (total - this.#bytesAtSpaceCheck >= SPACE_CHECK_BYTES) {
        this.#bytesAtSpaceCheck = total;
        await this.throwIfNoSpace(total, total);
      }
      await writer.part(bytes);
      this.#chunks += 1;
    } finally {
      this.#isWriting = false;
    }
  }

  /** All chunks came: makes the spool durable. Throws DISK_FULL when its rows have no room beside it. */
  async complete(announced: number): Promise<void> {
    const { disk, directory } = this.#parts;
    if (this.#state !== 'open' || this.#writer === undefined) {
      throw new CairnError('FAILED_PRECONDITION', 'the snapshot has ended');
    }
    if (announced !== this.#chunks) {
      throw new CairnError('CORRUPTION', `snapshot of ${announced} chunks arrived with ${this.#chunks}`);
    }
    this.#state = 'complete';
    // Once the rows are being replaced there is no way back; here nothing is lost yet.
    const { bytes } = this.#writer;
    await this.throwIfNoSpace(bytes, bytes);
    await this.#writer.sync();
    await disk.syncDirectory(directory);
  }

  /** The core has it: the file stays. */
  async handOver(): Promise<void> {
    if (this.#end()) await this.#writer?.close();
  }

  async abandon(): Promise<void> {
    if (!this.#end()) return;
    try {
      await this.#writer?.close();
    } finally {
      await this.#parts.disk.remove(this.#stream.path);
    }
  }

  /** False when it had ended before. */
  #end(): boolean {
    if (this.#state === 'over') return false;
    this.#state = 'over';
    this.#progressTimer?.cancel();
    this.#freePlace();
    return true;
  }
}

function isInside(span: EngineSpan, key: Buffer): boolean {
  return Buffer.compare(key, span.start) >= 0 && Buffer.compare(key, span.end) < 0;
}
