import { assert, CairnError, type LogIndex, type RangeDescriptor, type RangeId } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { KvEngine } from '@cairn/engine';
import { readWholeFile, type Disk, type DiskFile, type Logger } from '@cairn/ports';
import type { Message, SnapshotMeta } from '@cairn/raft';
import type { RangeLog, RaftLog } from '@cairn/raft-log';

import type { Applier } from './applier.js';
import { encodeCheckpointState, type CheckpointState } from './checkpoint-state.js';
import type { Replica } from './replica.js';
import { decodeSnapshotHeader, decodeSnapshotRows, type SnapshotHeader } from './snapshot-frames.js';
import type { StateMachine } from './state-machine.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMetrics } from './store-metrics.js';

const WRITE_BATCH_BYTES = 1024 * 1024;

export interface SnapshotReceiverParts {
  readonly directory: string;
  readonly disk: Disk;
  readonly engine: KvEngine;
  readonly log: RaftLog;
  readonly applier: Applier;
  readonly config: StoreConfig;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  /** Why the snapshot has no place here, if it has none: its span is taken, or its replica was removed. */
  refuses(header: SnapshotHeader): string | undefined;
  machineFor(descriptor: RangeDescriptor): StateMachine;
}

/** A snapshot on its way in. */
export interface IncomingSnapshot {
  readonly header: SnapshotHeader;
  /** Adds one chunk to the spool; throws CORRUPTION when it is damaged. */
  chunk(rows: Buffer): Promise<void>;
  /** The stream is complete: makes the spool durable and answers the message to step into the core. */
  finish(chunks: number): Promise<Message>;
  /** The stream broke: forgets it. */
  abandon(): Promise<void>;
}

/**
 * Receives snapshots. The stream goes to a spool file first, so that replacing the rows of a range can start
 * over after a crash: spool and sync, mark the replica as installing, delete the span, write the rows, flush
 * the engine, then move log and checkpoint with one log write. Until that the replica has its old log and
 * serves nothing.
 */
export class SnapshotReceiver {
  readonly #parts: SnapshotReceiverParts;
  #receiving = 0;
  /** Streams begun in this life; part of the spools' names. */
  #streams = 0;
  /** Complete spools whose message is on its way through the core. */
  readonly #spools = new Map<RangeId, { readonly header: SnapshotHeader; readonly path: string }>();

  constructor(parts: SnapshotReceiverParts) {
    this.#parts = parts;
  }

  /** Accepts a stream. Throws RESOURCE_EXHAUSTED or FAILED_PRECONDITION with the reason for the sender. */
  async begin(headerBytes: Buffer): Promise<IncomingSnapshot> {
    const header = decodeSnapshotHeader(headerBytes);
    if (this.#receiving >= this.#parts.config.snapshotReceivesMax) {
      this.#parts.metrics.snapshot('refused');
      throw new CairnError('RESOURCE_EXHAUSTED', 'another snapshot is being received');
    }
    const reason = this.#parts.refuses(header);
    if (reason !== undefined) {
      this.#parts.metrics.snapshot('refused');
      throw new CairnError('FAILED_PRECONDITION', reason);
    }
    this.#receiving += 1;
    this.#streams += 1;
    // Never the name of a spool that is being installed: a sender that heard no answer sends the same
    // snapshot again.
    const path = `${this.#parts.directory}/${header.rangeId}-${header.meta.index}-${this.#streams}.spool`;
    try {
      await this.#parts.disk.remove(path);
      const file = await this.#parts.disk.open(path, { mode: 'write' });
      const writer = new SpoolWriter(file);
      await writer.part(headerBytes);
      return this.#incoming(header, path, writer);
    } catch (error) {
      this.#receiving -= 1;
      throw error;
    }
  }

  #incoming(header: SnapshotHeader, path: string, writer: SpoolWriter): IncomingSnapshot {
    let chunks = 0;
    let isOver = false;
    const over = async (): Promise<void> => {
      if (isOver) return;
      isOver = true;
      this.#receiving -= 1;
      await writer.close();
    };
    return {
      header,
      chunk: async (rows) => {
        decodeSnapshotRows(rows);
        chunks += 1;
        await writer.part(rows);
      },
      finish: async (announced) => {
        if (announced !== chunks) {
          throw new CairnError('CORRUPTION', `snapshot of ${announced} chunks arrived with ${chunks}`);
        }
        await writer.sync();
        await this.#parts.disk.syncDirectory(this.#parts.directory);
        await over();
        // The replica may have been removed while the rows came in; the spool of its successor is not for it.
        const reason = this.#parts.refuses(header);
        if (reason !== undefined) {
          await this.#parts.disk.remove(path);
          throw new CairnError('FAILED_PRECONDITION', reason);
        }
        this.#spools.set(header.rangeId, { header, path });
        return { type: 'snapshot', from: header.from, to: header.to, term: header.term, meta: header.meta };
      },
      abandon: async () => {
        if (isOver) return;
        await over();
        await this.#parts.disk.remove(path);
      },
    };
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
    replica.applyQueue.clear();
    await new Promise<void>((resolve) => {
      this.#parts.applier.whenBetweenBatches(resolve);
    });
    const { descriptor } = spool.header;
    const old = replica.log.checkpoint;
    replica.log.setCheckpoint({
      index: old?.index ?? (0 as LogIndex),
      term: old?.term ?? (0 as SnapshotMeta['term']),
      state: encodeCheckpointState({
        replicaId: replica.replicaId,
        descriptor: replica.descriptorOrUndefined,
        config: replica.raft.configState,
        confVersionSeen: replica.confVersionSeen,
        installing: spool.path,
      }),
    });
    await this.#parts.log.sync();
    const machine = replica.machine ?? this.#parts.machineFor(descriptor);
    const oldSpans = replica.machine?.spans() ?? [];
    for (const span of oldSpans) await this.#parts.engine.deleteRange(span.start, span.end);
    replica.machine = machine;
    replica.setDescriptor(descriptor);
    if (oldSpans.length === 0) machine.attach?.(replica);
    await this.#writeRows(spool.path, spool.header, machine);
    await this.#commit(replica.log, spool.header);
    await machine.restored(spool.header.volatileState);
    await this.#parts.disk.remove(spool.path);
    // Last, and right before the core hears of it: both speak of the same state at any moment.
    replica.appliedIndex = meta.index;
    replica.appliedTerm = meta.term;
    replica.handedIndex = meta.index;
    replica.consistentAtIndex = meta.index;
    replica.appliedBytesSinceCheckpoint = 0;
    this.#parts.metrics.snapshot('installed');
    this.#parts.logger.info('snapshot installed', { range: replica.rangeId, index: meta.index });
  }

  /**
   * After a crash in the middle of an installation: does it again from the spool. Answers the state it leads
   * to.
   */
  async finishInstallation(log: RangeLog, state: CheckpointState): Promise<CheckpointState> {
    assert(state.installing !== undefined, 'nothing to finish');
    const { disk, engine } = this.#parts;
    const spool = await readWholeFile(disk, state.installing);
    const header = fromSpool(state.installing, () => decodeSnapshotHeader(new ByteReader(spool).bytes()));
    if (state.descriptor !== undefined) {
      const before = this.#parts.machineFor(state.descriptor);
      for (const span of before.spans()) await engine.deleteRange(span.start, span.end);
    }
    await this.#writeRows(state.installing, header, this.#parts.machineFor(header.descriptor));
    await this.#commit(log, header);
    await disk.remove(state.installing);
    this.#parts.logger.info('snapshot installed after restart', {
      range: header.rangeId,
      index: header.meta.index,
    });
    const { descriptor, meta } = header;
    return { ...state, descriptor, config: meta.config, installing: undefined };
  }

  /** Removes spools that no installation needs; called once after recovery. */
  async removeLeftovers(): Promise<void> {
    const { disk, directory } = this.#parts;
    for (const name of await disk.list(directory)) {
      if (name.endsWith('.spool')) await disk.remove(`${directory}/${name}`);
    }
  }

  async #writeRows(path: string, header: SnapshotHeader, machine: StateMachine): Promise<void> {
    const { engine, disk } = this.#parts;
    for (const span of machine.spans()) await engine.deleteRange(span.start, span.end);
    const reader = new ByteReader(await readWholeFile(disk, path));
    reader.bytes();
    let batch = engine.newBatch();
    while (reader.remaining > 0) {
      const rows = fromSpool(path, () => decodeSnapshotRows(reader.bytes()));
      for (const [key, value] of rows) batch.put(key, value);
      if (batch.bytes >= WRITE_BATCH_BYTES) {
        await engine.write(batch);
        batch = engine.newBatch();
      }
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

/** Decodes a part of a spool that was whole when it was received: damage means that the disk lost it. */
function fromSpool<Value>(path: string, decode: () => Value): Value {
  try {
    return decode();
  } catch (error) {
    if (!CairnError.is(error) || error.code !== 'CORRUPTION') throw error;
    throw new CairnError(
      'CORRUPTION',
      `received snapshot damaged: ${path}: ${error.message}. Keep a copy of the directory, then give the node an ` +
        'empty data directory and let its ranges be rebuilt from their other replicas.',
      { cause: error, details: { path } },
    );
  }
}

/** Length-prefixed parts, one after the other. */
class SpoolWriter {
  readonly #file: DiskFile;
  #position = 0;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  async part(bytes: Buffer): Promise<void> {
    const prefix = new ByteWriter(8);
    prefix.varint(bytes.length);
    const length = prefix.take();
    await this.#file.write([length, bytes], this.#position);
    this.#position += length.length + bytes.length;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
