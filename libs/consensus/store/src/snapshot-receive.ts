import {
  assert,
  CairnError,
  formatTooNew,
  messageOf,
  rethrowInvariant,
  type LogIndex,
  type RangeDescriptor,
  type RangeId,
  type StoreId,
} from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import type { Clock, Disk, Logger, Timer } from '@cairn/ports';
import type { Message, SnapshotMeta } from '@cairn/raft';
import type { RangeLog, RaftLog } from '@cairn/raft-log';

import type { Applier } from './applier.js';
import { encodeCheckpointState, type CheckpointState } from './checkpoint-state.js';
import type { Replica } from './replica.js';
import { decodeSnapshotHeader, decodeSnapshotRows, type SnapshotHeader } from './snapshot-frames.js';
import { SpoolReader, SpoolWriter } from './snapshot-spool.js';
import type { EngineSpan, StateMachine } from './state-machine.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMetrics } from './store-metrics.js';

const WRITE_BATCH_BYTES = 1024 * 1024;
/** While a spool grows, the space that is left is looked at this often. */
const SPACE_CHECK_BYTES = 16 * 1024 * 1024;

export interface SnapshotReceiverParts {
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly engine: KvEngine;
  readonly log: RaftLog;
  readonly applier: Applier;
  readonly config: StoreConfig;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  /** Why the snapshot has no place here, if it has none: see `refusalOf`. */
  refuses(header: SnapshotHeader, from: StoreId): string | undefined;
  /**
   * Steps the message into the core of its replica; whether the core asks for the snapshot to be installed.
   */
  step(from: StoreId, rangeId: RangeId, message: Message & { type: 'snapshot' }): boolean;
  machineFor(descriptor: RangeDescriptor): StateMachine;
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

interface Spool {
  readonly header: SnapshotHeader;
  readonly path: string;
}

/**
 * Receives snapshots. The stream goes to a spool file first, so that replacing the rows of a range can start
 * over after a crash: spool and sync, mark the replica as installing, delete the span, write the rows, flush
 * the engine, then move log and checkpoint with one log write. Until that the replica has its old log and
 * serves nothing.
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
  /** Complete spools that the core has accepted and the next turn installs: one for each range. */
  readonly #spools = new Map<RangeId, Spool>();

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
    const incoming = new Incoming(this.#parts, { header, path, from, stalled }, () => {
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
    const reason = this.#parts.refuses(header, from);
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

  /** Whether the core takes it: then its `Ready` asks for `install`. */
  #offer(header: SnapshotHeader, path: string, from: StoreId): boolean {
    const { rangeId, from: sender, to, term, meta } = header;
    if (this.#spools.has(rangeId)) return false;
    this.#spools.set(rangeId, { header, path });
    let isTaken = false;
    try {
      isTaken = this.#parts.step(from, rangeId, { type: 'snapshot', from: sender, to, term, meta });
    } finally {
      if (!isTaken) this.#spools.delete(rangeId);
    }
    return isTaken;
  }

  /** An assertion failed while a stream was worked on, perhaps half way through the core. */
  fatal(error: unknown): void {
    this.#parts.fatal(error);
  }

  /** The replica is gone before its core could ask for the installation. */
  forget(rangeId: RangeId): void {
    const spool = this.#spools.get(rangeId);
    if (spool === undefined) return;
    this.#spools.delete(rangeId);
    this.#parts.disk.remove(spool.path).catch((error: unknown) => {
      rethrowInvariant(error);
      // The next start removes it.
      this.#parts.logger.warn('spool of a snapshot not removed', {
        path: spool.path,
        reason: messageOf(error),
      });
    });
  }

  /**
   * The core accepted the snapshot: makes it the state of the replica. The caller unblocks the applier
   * afterwards.
   */
  async install(replica: Replica, meta: SnapshotMeta): Promise<void> {
    const spool = this.#spools.get(replica.rangeId);
    assert(
      spool !== undefined && spool.header.meta.index === meta.index,
      'no spool for an accepted snapshot',
      {
        range: replica.rangeId,
      },
    );
    this.#spools.delete(replica.rangeId);
    // A split that is half way through would set the applied index back when it ends.
    while (replica.exclusiveWork !== undefined) await replica.exclusiveWork;
    replica.isApplyBlocked = true;
    this.#parts.applier.forget(replica);
    await new Promise<void>((resolve) => {
      this.#parts.applier.whenBetweenBatches(resolve);
    });
    const { header, path } = spool;
    const old = replica.log.checkpoint;
    replica.log.setCheckpoint({
      index: old?.index ?? (0 as LogIndex),
      term: old?.term ?? (0 as SnapshotMeta['term']),
      state: encodeCheckpointState({
        replicaId: replica.replicaId,
        descriptor: replica.descriptorOrUndefined,
        config: replica.raft.configState,
        confVersionSeen: replica.confVersionSeen,
        installing: path,
      }),
    });
    await this.#parts.log.sync();
    const isFirst = replica.machine === undefined;
    if (isFirst && replica.isClosed) {
      // Removed before it had a place: it must not take one now.
      await this.#parts.disk.remove(path);
      return;
    }
    const oldSpans = replica.machine?.spans() ?? [];
    const machine = replica.machine ?? this.#firstMachine(replica, header.descriptor);
    // Its old span stays taken until the log knows of the new one: a crash before that deletes the rows of
    // the old span once more, and no other range may have rows there by then.
    for (const span of oldSpans) await this.#parts.engine.deleteRange(span.start, span.end);
    await this.#writeRows(path, header, machine);
    await this.#commit(replica.log, header);
    if (!isFirst && !replica.isClosed) replica.setDescriptor(header.descriptor);
    await machine.restored(header.volatileState);
    await this.#parts.disk.remove(path);
    // Last, and right before the core hears of it: both speak of the same state at any moment.
    replica.appliedIndex = meta.index;
    replica.appliedTerm = meta.term;
    replica.handedOutIndex = meta.index;
    replica.consistentAtIndex = meta.index;
    replica.appliedBytesSinceCheckpoint = 0;
    this.#parts.metrics.snapshot('installed');
    this.#parts.logger.info('snapshot installed', { range: replica.rangeId, index: meta.index });
  }

  #firstMachine(replica: Replica, descriptor: RangeDescriptor): StateMachine {
    const machine = this.#parts.machineFor(descriptor);
    replica.machine = machine;
    replica.setDescriptor(descriptor);
    machine.attach?.(replica);
    return machine;
  }

  /**
   * What a replica covers until its half-done installation is finished: the span before a cut is the longer.
   * Undefined when there is nothing to finish.
   */
  async spanOfHalfInstalled({
    installing,
    descriptor,
  }: CheckpointState): Promise<RangeDescriptor | undefined> {
    if (installing === undefined) return undefined;
    if (descriptor !== undefined) return descriptor;
    return (await this.#headerOf(`${this.#parts.directory}/${nameOf(installing)}`)).descriptor;
  }

  /**
   * After a crash in the middle of an installation: does it again from the spool. Answers the state it leads
   * to. Throws DISK_FULL, before it writes any row, when they have no room: each start would take more.
   */
  async finishInstallation(log: RangeLog, state: CheckpointState): Promise<CheckpointState> {
    assert(state.installing !== undefined, 'nothing to finish');
    const { disk, directory, engine } = this.#parts;
    // The directory may have been moved since.
    const path = `${directory}/${nameOf(state.installing)}`;
    const header = await this.#headerOf(path);
    // What an earlier attempt wrote makes room, too: no span has grown, so it lies in the old one.
    const taken = this.#parts.spansOf(state.descriptor ?? header.descriptor);
    for (const { start, end } of taken) await engine.deleteRange(start, end);
    const machine = this.#parts.machineFor(header.descriptor);
    await this.#throwIfRowsHaveNoRoom(path, header);
    await this.#writeRows(path, header, machine);
    await this.#commit(log, header);
    await disk.remove(path);
    this.#parts.logger.info('snapshot installed after restart', {
      range: header.rangeId,
      index: header.meta.index,
    });
    const { descriptor, meta } = header;
    return { ...state, descriptor, config: meta.config, installing: undefined };
  }

  /** Removes spools that no installation needs; called once after recovery. */
  async removeLeftovers(needed: readonly string[]): Promise<void> {
    const { disk, directory } = this.#parts;
    // The directory may have been moved since.
    const kept = new Set(needed.map(nameOf));
    for (const name of await disk.list(directory)) {
      if (name.endsWith('.spool') && !kept.has(name)) await disk.remove(`${directory}/${name}`);
    }
  }

  async #throwIfRowsHaveNoRoom(path: string, { rangeId }: SnapshotHeader): Promise<void> {
    const { disk, directory } = this.#parts;
    const file = await disk.open(path, { mode: 'read' });
    try {
      const [bytes, free] = [await file.size(), await disk.freeBytes(directory)];
      if (bytes <= free) return;
      throw new CairnError(
        'DISK_FULL',
        `the snapshot of range ${rangeId} in ${path} is half installed and needs ${bytes} bytes, ${free} are free ` +
          'on its disk: free some or give it more; the node goes on with it by itself then',
        { details: { path, rangeId } },
      );
    } finally {
      await file.close();
    }
  }

  async #headerOf(path: string): Promise<SnapshotHeader> {
    const reader = await SpoolReader.open(this.#parts.disk, path);
    try {
      const header = await reader.next(decodeSnapshotHeader);
      return header ?? reader.throwEmpty();
    } finally {
      await reader.close();
    }
  }

  /**
   * In bounded pieces: a part of the spool, and a batch of the engine, are in memory at a time. Nobody reads
   * the rows before the checkpoint has moved.
   */
  async #writeRows(path: string, header: SnapshotHeader, machine: StateMachine): Promise<void> {
    const { engine, disk } = this.#parts;
    for (const { start, end } of this.#parts.spansOf(header.descriptor)) await engine.deleteRange(start, end);
    const reader = await SpoolReader.open(disk, path);
    let batch = engine.newBatch();
    const writeOut = async (full: EngineBatch): Promise<EngineBatch> => {
      await engine.write(full);
      return engine.newBatch();
    };
    try {
      await reader.next(decodeSnapshotHeader);
      for (;;) {
        const rows = await reader.next(decodeSnapshotRows);
        if (rows === undefined) break;
        for (const [key, value] of rows) {
          batch.put(key, value);
          if (batch.bytes >= WRITE_BATCH_BYTES) batch = await writeOut(batch);
        }
      }
    } finally {
      await reader.close();
    }
    machine.restoring?.(header.volatileState, batch);
    if (batch.length > 0) await engine.write(batch);
    await engine.flush();
  }

  /** The engine holds the snapshot durably: the log may begin behind it. */
  async #commit(log: RangeLog, header: SnapshotHeader): Promise<void> {
    const { meta } = header;
    const before = log.hardState;
    log.reset(meta.index, meta.term);
    log.setHardState({
      term: before !== undefined && before.term > header.term ? before.term : header.term,
      vote: before !== undefined && before.term >= header.term ? before.vote : (0 as SnapshotHeader['to']),
      commit: meta.index,
    });
    log.setCheckpoint({
      index: meta.index,
      term: meta.term,
      state: encodeCheckpointState({
        replicaId: header.to,
        descriptor: header.descriptor,
        config: meta.config,
        confVersionSeen: 0,
        installing: undefined,
      }),
    });
    await this.#parts.log.sync();
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

interface Stream {
  readonly header: SnapshotHeader;
  readonly path: string;
  readonly from: StoreId;
  stalled(error: CairnError): void;
}

/** One stream, from its place among those that are received until the core has its spool or it is removed. */
class Incoming {
  readonly #parts: SnapshotReceiverParts;
  readonly #stream: Stream;
  readonly #freePlace: () => void;
  readonly #spans: readonly EngineSpan[];
  #writer: SpoolWriter | undefined;
  #progressTimer: Timer | undefined;
  #chunks = 0;
  #bytesAtLook = 0;
  #bytesAtSpaceCheck = 0;
  /** The disk is at work: what does not arrive meanwhile is not the sender's fault. */
  #isWriting = false;
  #state: 'open' | 'complete' | 'over' = 'open';

  constructor(parts: SnapshotReceiverParts, stream: Stream, freePlace: () => void) {
    this.#parts = parts;
    this.#stream = stream;
    this.#freePlace = freePlace;
    this.#spans = parts.spansOf(stream.header.descriptor);
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
      if (!this.#spans.some((span) => isInside(span, key))) {
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
