import { assert, CairnError, type LogIndex, type RangeDescriptor } from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import type { Disk, Logger } from '@cairn/ports';
import type { SnapshotMeta } from '@cairn/raft';
import type { RangeLog, RaftLog } from '@cairn/raft-log';

import type { ApplyBacklog } from './apply-backlog.js';
import { encodeCheckpointState, type CheckpointState } from './checkpoint-state.js';
import type { OwnRows } from './own-rows.js';
import type { ReceivedSpools } from './received-spools.js';
import type { Replica } from './replica.js';
import { decodeSnapshotHeader, decodeSnapshotRows, type SnapshotHeader } from './snapshot-frames.js';
import { SpoolReader } from './snapshot-spool.js';
import type { StateMachine } from './state-machine.js';
import type { StoreMetrics } from './store-metrics.js';

const WRITE_BATCH_BYTES = 1024 * 1024;

export interface SnapshotInstallerParts {
  readonly directory: string;
  readonly disk: Disk;
  readonly engine: KvEngine;
  readonly log: Pick<RaftLog, 'setMarks' | 'sync'>;
  readonly backlog: Pick<ApplyBacklog, 'forget' | 'whenBetweenBatches'>;
  readonly spools: Pick<ReceivedSpools, 'toInstall' | 'remove'>;
  readonly ownRows: Pick<OwnRows, 'of'>;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  machineFor(descriptor: RangeDescriptor, isInitial: boolean): StateMachine;
}

/**
 * Makes received snapshots the state of their replicas, in an order that a crash may break off anywhere:
 *
 * | durable so far               | what a start finds   | what it does                             |
 * | ---------------------------- | -------------------- | ---------------------------------------- |
 * | the spool                    | the old log and rows | removes the spool: it is sent again      |
 * | the mark `installing`        | rows of any mixture  | `finishInstallation`, from the beginning |
 * | the rows, flushed            | the mark still       | the same                                 |
 * | the log's new marks, as one | the new state        | removes the spool                        |
 *
 * Timeline: docs/timelines/replica-move.md
 */
export class SnapshotInstaller {
  readonly #parts: SnapshotInstallerParts;

  constructor(parts: SnapshotInstallerParts) {
    this.#parts = parts;
  }

  /**
   * The core accepted the snapshot: makes it the state of the replica. The caller unblocks the applier
   * afterwards.
   */
  async install(replica: Replica, meta: SnapshotMeta): Promise<void> {
    const { header, path } = this.#parts.spools.toInstall(replica.rangeId, meta.index);
    // A split that is half way through would set the applied index back when it ends.
    while (replica.exclusiveWork !== undefined) await replica.exclusiveWork;
    replica.isApplyBlocked = true;
    this.#parts.backlog.forget(replica);
    await new Promise<void>((resolve) => {
      this.#parts.backlog.whenBetweenBatches(resolve);
    });
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
    // Removed before it had a place: it must not take one now. Its removal takes the spool, once the log does
    // not name it any more.
    if (isFirst && replica.isClosed) return;
    const before = replica.descriptorOrUndefined;
    const machine = replica.machine ?? this.#firstMachine(replica, header.descriptor);
    // Its old span stays taken until the log knows of the new one: a crash before that deletes the rows of
    // the old span once more, and no other range may have rows there by then.
    if (before !== undefined) await this.#deleteRows(before);
    await this.#writeRows(path, header, machine);
    await this.#commit(replica.log, header);
    if (!isFirst && !replica.isClosed) replica.setDescriptor(header.descriptor);
    await machine.restored(header.volatileState);
    await this.#parts.spools.remove(replica.rangeId);
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
    const machine = this.#parts.machineFor(descriptor, false);
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
    const { disk, directory } = this.#parts;
    // The directory may have been moved since.
    const path = `${directory}/${nameOf(state.installing)}`;
    const header = await this.#headerOf(path);
    // What an earlier attempt wrote makes room, too: no span has grown, so it lies in the old one.
    await this.#deleteRows(state.descriptor ?? header.descriptor);
    const machine = this.#parts.machineFor(header.descriptor, false);
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

  async #deleteRows(descriptor: RangeDescriptor): Promise<void> {
    const { engine, ownRows } = this.#parts;
    for (const { start, end } of ownRows.of(descriptor)) await engine.deleteRange(start, end);
  }

  /**
   * In bounded pieces: a part of the spool, and a batch of the engine, are in memory at a time. Nobody reads
   * the rows before the checkpoint has moved.
   */
  async #writeRows(path: string, header: SnapshotHeader, machine: StateMachine): Promise<void> {
    const { engine, disk } = this.#parts;
    await this.#deleteRows(header.descriptor);
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
    const { index, term, config } = header.meta;
    const before = log.hardState;
    const state = encodeCheckpointState({
      replicaId: header.to,
      descriptor: header.descriptor,
      config,
      confVersionSeen: 0,
      installing: undefined,
    });
    const hardState = {
      term: before !== undefined && before.term > header.term ? before.term : header.term,
      vote: before !== undefined && before.term >= header.term ? before.vote : (0 as SnapshotHeader['to']),
      commit: index,
    };
    const { rangeId } = log;
    this.#parts.log.setMarks([
      { rangeId, reset: { index, term }, hardState, checkpoint: { index, term, state } },
    ]);
    await this.#parts.log.sync();
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
