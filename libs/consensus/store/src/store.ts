import type { CairnError, RangeDescriptor, RangeId, ReplicaId, StoreId } from '@cairn/base';

import type { DiskWatch } from './disk-watch.js';
import { groupOf } from './group.js';
import type { InboundSource } from './inbound.js';
import { proposeNoop } from './noop.js';
import { notLeader } from './not-leader.js';
import { openStoreLog } from './open-store-log.js';
import { orInVain } from './or-in-vain.js';
import { recoverReplicas } from './recovery.js';
import type { ChangeReplicasRequest } from './replica-changer.js';
import { createReplica } from './replica-creation.js';
import type { Replica } from './replica.js';
import type { SnapshotReceiver } from './snapshot-receive.js';
import { cutRange, type ChildIds } from './split.js';
import type { ReplicaGroup } from './state-machine.js';
import { validateStoreConfig } from './store-config.js';
import type { StoreOptions } from './store-options.js';
import { markStore } from './store-mark.js';
import { storeParts, type StoreParts } from './store-parts.js';

/** The parts of a store, for `debug-view.ts` only. */
export let partsOf: (store: Store) => StoreParts;

/**
 * A store: one log, one engine, one loop, many replicas. Knows Raft groups and state machines, not keys and
 * values. Opened with `Store.open`; closed with `close`, which leaves a checkpoint so that the next start
 * replays nothing.
 *
 * This is its face. How its parts hang together is in `store-parts.ts`, a turn in `turn.ts`, a start in
 * `recovery.ts`.
 */
export class Store {
  static {
    partsOf = (store) => store.#parts;
  }

  readonly #options: StoreOptions;
  readonly #parts: StoreParts;
  #closing: Promise<void> | undefined;

  private constructor(options: StoreOptions, parts: StoreParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /**
   * Recovers the log and every replica in it, and starts the loop. Throws CORRUPTION when the log is damaged,
   * and when log or engine are not those of the directory.
   */
  static async open(options: StoreOptions): Promise<Store> {
    validateStoreConfig(options.config);
    const log = await openStoreLog(options);
    try {
      await markStore(options.directory, { log, engine: options.engine }, options.mark);
      const parts = storeParts(options, log);
      const { clock, logger } = options;
      const { disk, held, heldRecovery, installer, life, opener, removal } = parts;
      await recoverReplicas({
        ...{ clock, logger, log, disk, removal, installer, held, heldRecovery, opener, life },
      });
      parts.ticker.start();
      return new Store(options, parts);
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  get storeId(): StoreId {
    return this.#options.storeId;
  }

  get disk(): DiskWatch {
    return this.#parts.disk;
  }

  /**
   * Brings the replica of a range that is being created into existence, durably. Idempotent: a range that is
   * already here, in whatever state, is left alone.
   */
  createReplica(descriptor: RangeDescriptor): Promise<void> {
    const { storeId, clock } = this.#options;
    const { applier, held, log, machineFor, machines, maker, occupancy, replicas } = this.#parts;
    return createReplica(
      { storeId, clock, log, replicas, held, occupancy, maker, machines, applier, machineFor },
      descriptor,
    );
  }

  replica(rangeId: RangeId): Replica | undefined {
    return this.#parts.replicas.get(rangeId);
  }

  replicas(): Iterable<Replica> {
    return this.#parts.replicas;
  }

  /** The replica whose span covers the key, if one is here. */
  replicaCovering(key: Uint8Array): Replica | undefined {
    return this.#parts.spans.covering(key);
  }

  /** Replicas that wait for room, see `HeldReplicas`. */
  get heldReplicas(): number {
    return this.#parts.held.size;
  }

  /** Payload bytes that are committed and not applied yet, of all ranges. */
  get applyBacklogBytes(): number {
    return this.#parts.backlog.bytes;
  }

  /** Bytes that wait for the log's disk. */
  get logStagedBytes(): number {
    return this.#parts.log.stagedBytes;
  }

  /** The promise-based face of a group; undefined when the store has no replica of it. */
  group(rangeId: RangeId): ReplicaGroup | undefined {
    const replica = this.replica(rangeId);
    return replica === undefined ? undefined : groupOf(replica, this.#options.clock);
  }

  /**
   * Changes the members of a range that is led here: adds a store, removes one, or puts one in the place of
   * another. A new replica begins as a learner and votes once it has caught up; the one that goes stops
   * voting in the same joint change and is removed after it. Resolves with the descriptor when all is
   * applied; asked for again after a failure, it goes on where it stood.
   *
   * Rejects with NOT_LEADER (ask the store in `details.leaderStoreId`; also after the leader handed over
   * because it is the one to go), EPOCH_MISMATCH, FAILED_PRECONDITION (too few voters were heard lately, the
   * last voter, another change under way), UNAVAILABLE (not done in time), INVALID_ARGUMENT.
   */
  changeReplicas(rangeId: RangeId, request: ChangeReplicasRequest): Promise<RangeDescriptor> {
    const replica = this.replica(rangeId);
    if (replica === undefined) {
      return Promise.reject(notLeader(undefined));
    }
    return this.#parts.changer.change(replica, request);
  }

  /**
   * Cuts a range that is led here. Resolves when the split is applied here. Rejects with NOT_LEADER,
   * EPOCH_MISMATCH, or FAILED_PRECONDITION when one is under way.
   */
  async splitRange(
    rangeId: RangeId,
    version: number,
    keys: readonly Uint8Array[],
    ids: readonly ChildIds[],
  ): Promise<void> {
    await cutRange(this.replica(rangeId), { version, keys, ids });
  }

  /**
   * A descriptor that some replica of the range has applied. The replica here goes when it proves that it was
   * removed: one that was cut off hears of its removal in this way.
   */
  learnDescriptor(descriptor: RangeDescriptor): void {
    this.#parts.members.learn(descriptor);
  }

  /**
   * The metadata service's word that nobody had named this replica by `asOfMs`: a message made it up. What it
   * promised binds nobody and goes with it, unless a message came since: then it may have been named.
   */
  forgetInvented(rangeId: RangeId, replicaId: ReplicaId, asOfMs: number): void {
    this.#parts.maker.forgetInvented(rangeId, replicaId, asOfMs);
  }

  /**
   * Shows the range the cluster version, if it is led here and none of its leaders has; see `proposeNoop`.
   */
  markVersion(rangeId: RangeId): void {
    proposeNoop(this.replica(rangeId), this.#options.gates);
  }

  /** A session that a peer store opened for raft frames; `close` ends it once one cannot be read. */
  raftSource(from: StoreId, close: (error: CairnError) => void): InboundSource {
    return this.#parts.inbound.source(from, close);
  }

  /**
   * One raft frame of a peer store. Bounded: beyond `inboundBytesMax`, and a quarter of it for each source,
   * frames are dropped, which Raft tolerates.
   */
  receiveRaftFrame(source: InboundSource, body: Buffer): void {
    this.#parts.inbound.push(source, body);
    this.#parts.queue.schedule();
  }

  /** A heartbeat frame of a peer store. Throws CORRUPTION for a garbled one: its session must end. */
  receiveHeartbeat(from: StoreId, body: Buffer): void {
    if (this.#parts.life.isOver) return;
    this.#parts.heartbeats.receive(from, body);
  }

  /** A peer store offers a snapshot; frames of the stream go to what is returned. */
  get snapshotReceiver(): SnapshotReceiver {
    return this.#parts.receiver;
  }

  /** The stream to a store broke: followers of its leaders need not wait for their full election timeout. */
  peerLost(storeId: StoreId): void {
    const nowMs = this.#options.clock.nowMs();
    // Those that the stores' heartbeats stand for have their turns, and their order: they come after.
    for (const replica of this.#parts.replicas) {
      if (!replica.isLeader && replica.leaderStoreId === storeId && !replica.raft.isSupporting) {
        replica.raft.leaderStoreLost(nowMs);
        replica.wake();
      }
    }
    this.#parts.heartbeats.peerLost(storeId);
  }

  /**
   * Stops the loop and leaves a checkpoint, unless the disk has no room for it, or the store has failed: then
   * the next start replays the log. Leaders should have been transferred before. Rejects with what the
   * checkpoint failed for; everything is closed all the same. A second call waits for the first.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { heldRecovery, life, log, replicas, sender, ticker } = this.#parts;
    ticker.stop();
    heldRecovery.stop();
    try {
      await this.#settle();
    } finally {
      life.end();
      for (const replica of replicas) replica.close();
      sender.stop();
      this.#options.links.close();
      await log.close();
    }
  }

  async #settle(): Promise<void> {
    const { backlog, checkpointer, disk, life, removal } = this.#parts;
    if (life.isOver) return;
    const settling = checkpointer.run().then(() => removal.settled());
    const isSettled = await orInVain(this.#options.clock, disk, life, settling);
    life.end();
    if (isSettled) await backlog.idle();
  }
}
