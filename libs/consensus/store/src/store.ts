import {
  assert,
  CairnError,
  messageOf,
  type RangeDescriptor,
  type RangeId,
  type ReplicaId,
  type StoreId,
} from '@cairn/base';
import { decodeConfigChange, type Entry, type Message, type Ready } from '@cairn/raft';
import type { RaftLog } from '@cairn/raft-log';

import { Applier } from './applier.js';
import { Checkpointer } from './checkpointer.js';
import { Delivery } from './delivery.js';
import { DiskWatch } from './disk-watch.js';
import { groupOf } from './group.js';
import { HeldReplicas } from './held-replicas.js';
import { InboundQueue, type DeliverMessage, type InboundSource } from './inbound.js';
import { LeaseGuard } from './lease-guard.js';
import { LeadershipLog } from './leadership-log.js';
import { MachineOpener } from './machine-opener.js';
import { configStateOf, decodeNewMembers, descriptorAfterChange } from './membership.js';
import { noopApplied, proposeNoop } from './noop.js';
import { openStoreLog } from './open-store-log.js';
import { orOutOfRoom } from './out-of-room.js';
import { openRecovered, recoveredReplicas, type RecoveredReplica } from './recovery.js';
import type { Replica } from './replica.js';
import { ReplicaChanger, type ChangeReplicasRequest } from './replica-changer.js';
import { beginEmptyLog, buildReplica, memberToBear, type ReplicaStart } from './replica-factory.js';
import { ReplicaRemoval } from './replica-removal.js';
import { refusalOf } from './snapshot-check.js';
import type { SnapshotHeader } from './snapshot-frames.js';
import { SnapshotReceiver } from './snapshot-receive.js';
import { SnapshotSender } from './snapshot-send.js';
import { SpanIndex } from './span-index.js';
import { applySplit, beginLogOfBirth, INITIAL_INDEX, BIRTH_TERM, cutRange, type ChildIds } from './split.js';
import type { ReplicaGroup, StateMachine } from './state-machine.js';
import { validateStoreConfig } from './store-config.js';
import { decodeStoreCommand, type SplitCommand } from './store-commands.js';
import { StoreHeartbeats } from './store-heartbeats.js';
import { StoreMetrics } from './store-metrics.js';
import type { StoreOptions } from './store-options.js';
import { Ticker } from './ticker.js';
import { TurnLoop } from './turn.js';

/**
 * A store: one log, one engine, one loop, many replicas. Knows Raft groups and state machines, not keys and
 * values. Opened with `Store.open`; closed with `close`, which leaves a checkpoint so that the next start
 * replays nothing.
 */
export class Store {
  readonly storeId: StoreId;
  readonly disk: DiskWatch;
  readonly #options: StoreOptions;
  readonly #log: RaftLog;
  readonly #metrics: StoreMetrics;
  readonly #replicas = new Map<RangeId, Replica>();
  readonly #spans = new SpanIndex<Replica>();
  readonly #turns: TurnLoop;
  readonly #applier: Applier;
  readonly #checkpointer: Checkpointer;
  readonly #inbound: InboundQueue;
  readonly #sender: SnapshotSender;
  readonly #receiver: SnapshotReceiver;
  readonly #removal: ReplicaRemoval;
  readonly #changer: ReplicaChanger;
  /**
   * Ranges whose empty replica made room for the birth: it may have promised its vote, so the new holds
   * it too.
   */
  readonly #hadPromises = new Set<RangeId>();
  readonly #delivery: Delivery;
  readonly #heartbeats: StoreHeartbeats;
  readonly #ticker: Ticker;
  readonly #guard: LeaseGuard;
  readonly #opener: MachineOpener;
  readonly #held: HeldReplicas;
  readonly #leadershipLog: LeadershipLog;
  #isClosed = false;

  private constructor(options: StoreOptions, log: RaftLog) {
    this.storeId = options.storeId;
    this.#options = options;
    this.#log = log;
    this.#metrics = new StoreMetrics(options.metrics);
    const { clock, config, engine, links, logger } = options;
    const fatal = this.#fatal;
    this.disk = new DiskWatch({ clock, logger, log, engine, replicas: () => this.#replicas.values() });
    this.#leadershipLog = new LeadershipLog(clock, logger);
    this.#inbound = new InboundQueue(config, this.#metrics);
    this.#heartbeats = this.#newHeartbeats();
    this.#ticker = this.#newTicker();
    this.#guard = new LeaseGuard(clock, { config, logger, metrics: this.#metrics }, (nowMs) => {
      this.#ticker.dropLeases(nowMs);
    });
    this.#opener = new MachineOpener(clock, logger);
    this.#held = new HeldReplicas({ clock, logger, recover: (one) => this.#recoverOne(one), fatal });
    this.#turns = new TurnLoop({
      clock,
      config,
      log,
      links,
      metrics: this.#metrics,
      drainInbound: (startedMs) => this.#drainInbound(startedMs),
      installSnapshot: (replica, ready) => {
        this.#installSnapshot(replica, ready);
      },
      sendSnapshot: (replica, message) => {
        this.#sender.request(replica, message);
      },
      leadershipChanged: (replica) => {
        this.#leadershipChanged(replica);
      },
      guardLeases: (nowMs) => {
        this.#guard.check(nowMs);
      },
      heartbeats: this.#heartbeats,
      startTicking: (replica) => {
        this.#ticker.startTicking(replica);
      },
      stopTicking: (replica) => {
        this.#ticker.stopTicking(replica);
      },
      fatal,
    });
    this.#applier = new Applier({
      engine,
      config,
      host: this.#turns,
      metrics: this.#metrics,
      applyStoreCommand: (replica, entry) => this.#applyStoreCommand(replica, entry),
      applyConfigEntry: (replica, entry) => {
        this.#applyConfigEntry(replica, entry);
      },
      readyToLead: (replica) => {
        this.#readyToLead(replica);
      },
      fatal,
    });
    this.#turns.connect(this.#applier);
    this.#checkpointer = new Checkpointer({
      ...{ engine, log, clock, config, logger },
      ...{ applier: this.#applier, metrics: this.#metrics },
      replicas: () => this.#replicas.values(),
    });
    this.#sender = new SnapshotSender({
      engine,
      applier: this.#applier,
      host: this.#turns,
      clock,
      config,
      logger,
      metrics: this.#metrics,
      openChannel: (to) => options.openSnapshotChannel(to),
      fatal,
    });
    this.#receiver = this.#newReceiver();
    this.#removal = new ReplicaRemoval({
      storeId: options.storeId,
      engine,
      log,
      applier: this.#applier,
      logger,
      removed: (rangeId) => options.onReplicaChanged?.(rangeId),
      fatal,
    });
    this.#delivery = this.#newDelivery();
    this.#changer = new ReplicaChanger({ storeId: options.storeId, clock, logger });
  }

  #newHeartbeats(): StoreHeartbeats {
    const { clock, config, links, logger, rng } = this.#options;
    return new StoreHeartbeats({
      ...{ clock, config, links, logger, rng },
      replica: (rangeId) => this.#replicas.get(rangeId),
      startTicking: (replica) => {
        this.#ticker.startTicking(replica);
      },
    });
  }

  #newTicker(): Ticker {
    const { clock, config, logger } = this.#options;
    return new Ticker({
      clock,
      config,
      logger,
      metrics: this.#metrics,
      heartbeats: this.#heartbeats,
      replicas: this.#replicas,
      guardLeases: (nowMs) => {
        this.#guard.check(nowMs);
      },
      ticked: () => {
        this.#ticked();
      },
    });
  }

  #newDelivery(): Delivery {
    const { clock, logger } = this.#options;
    return new Delivery({
      ...{ clock, logger, metrics: this.#metrics },
      replica: (rangeId) => this.#replicas.get(rangeId),
      isGone: (rangeId, replicaId) => this.#held.has(rangeId) || this.#removal.isGone(rangeId, replicaId),
      isCovered: (key) => this.#held.isCovered(key) || this.replicaCovering(key) !== undefined,
      emptyReplicas: () => this.#replicas.size - this.#spans.size,
      replicas: () => this.#replicas.values(),
      forget: (replica) => {
        this.#forgetEmpty(replica);
      },
      createEmpty: (...args) => this.#createEmptyReplica(...args),
      step: (replica, message) => this.#turns.step(replica, message),
    });
  }

  #newReceiver(): SnapshotReceiver {
    const { clock, config, disk, engine, logger } = this.#options;
    return new SnapshotReceiver({
      ...{ clock, config, disk, engine, logger, directory: `${this.#options.directory}/snapshots` },
      ...{ log: this.#log, applier: this.#applier, metrics: this.#metrics, fatal: this.#fatal },
      refuses: (header, from) => this.#refusesSnapshot(header, from),
      step: (from, rangeId, message) => this.#stepSnapshot(from, rangeId, message),
      machineFor: (descriptor) => this.#options.machineFor(descriptor, false),
      spansOf: (descriptor) => this.#options.spansOf(descriptor),
      checkVolatileState: (state) => this.#options.checkVolatileState?.(state),
    });
  }

  /**
   * Recovers the log and every replica in it, and starts the loop. Throws CORRUPTION when the log is damaged.
   */
  static async open(options: StoreOptions): Promise<Store> {
    validateStoreConfig(options.config);
    const log = await openStoreLog(options);
    try {
      const store = new Store(options, log);
      await store.#recover();
      store.#ticker.start();
      return store;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  async #recover(): Promise<void> {
    await this.#removal.recover();
    const recovered = recoveredReplicas(this.#log.rangeIds(), (id) => this.#log.range(id));
    for (const one of recovered) {
      const span = await this.#receiver.spanOfHalfInstalled(one.state);
      if (span === undefined) await this.#recoverOne(one);
      else await orOutOfRoom(this.#options.clock, this.disk, this.#held.begin(one, span), this.#fatal);
    }
    await this.#receiver.removeLeftovers(this.#held.spools);
    this.#options.logger.info('replicas recovered', { replicas: recovered.length });
  }

  #recoverOne(recovered: RecoveredReplica): Promise<void> {
    return openRecovered(recovered, {
      finishInstallation: (log, state) => this.#receiver.finishInstallation(log, state),
      newReplica: (start) => this.#newReplica(start),
      machineFor: (descriptor) => this.#options.machineFor(descriptor, false),
      opened: (replica) => {
        this.#applier.unblock(replica);
        this.#turns.enqueue(replica);
      },
    });
  }

  #newReplica(start: ReplicaStart): Replica {
    assert(!this.#replicas.has(start.rangeId), 'one replica per range and store', { rangeId: start.rangeId });
    const { clock, config, gates, rng } = this.#options;
    const around = { clock, config, rng, log: this.#log, host: this.#turns, spans: this.#spans };
    const replica = buildReplica(around, start);
    replica.heardMs = clock.nowMs();
    replica.markedVersion = gates.clusterVersion;
    this.#replicas.set(start.rangeId, replica);
    this.#ticker.startTicking(replica);
    return replica;
  }

  /**
   * Brings the replica of a range that is being created into existence, durably. Idempotent: a range that is
   * already here, in whatever state, is left alone.
   */
  async createReplica(descriptor: RangeDescriptor): Promise<void> {
    const existing = this.#replicas.get(descriptor.rangeId);
    if (this.#held.has(descriptor.rangeId) || (existing !== undefined && !existing.isReplaceable)) return;
    const mine = memberToBear(descriptor, this.storeId);
    if (this.#removal.isGone(descriptor.rangeId, mine.replicaId)) return;
    if (this.#overlapping(descriptor) !== undefined) {
      throw new CairnError('FAILED_PRECONDITION', 'another range here covers part of the span');
    }
    if (existing !== undefined) this.#forgetEmpty(existing);
    const machine = this.#options.machineFor(descriptor, true);
    const log = this.#log.range(descriptor.rangeId);
    beginLogOfBirth(log, descriptor, mine.replicaId);
    const replica = this.#addChild(descriptor, mine.replicaId, machine);
    replica.isApplyBlocked = true;
    machine.attach?.(replica);
    await this.#log.sync();
    await this.#opener.open(replica, machine, () => {
      replica.isMachineOpen = true;
      this.#applier.unblock(replica);
      // The first member opens the first election at once; the others would only compete.
      if (descriptor.replicas[0] === mine) replica.raft.campaign(this.#options.clock.nowMs());
      replica.wake();
    });
  }

  /**
   * The replica of a range whose log was just created; its machine is open, or is being opened by the caller.
   */
  #addChild(descriptor: RangeDescriptor, replicaId: ReplicaId, machine: StateMachine): Replica {
    const replica = this.#newReplica({
      rangeId: descriptor.rangeId,
      replicaId,
      descriptor,
      config: configStateOf(descriptor),
      confVersionSeen: 0,
      appliedIndex: INITIAL_INDEX,
      appliedTerm: BIRTH_TERM,
      isInitial: !this.#hadPromises.delete(descriptor.rangeId),
    });
    replica.machine = machine;
    this.#options.onReplicaChanged?.(descriptor.rangeId);
    return replica;
  }

  replica(rangeId: RangeId): Replica | undefined {
    return this.#replicas.get(rangeId);
  }

  replicas(): Iterable<Replica> {
    return this.#replicas.values();
  }

  /** Payload bytes that are committed and not applied yet, of all ranges. */
  get applyBacklogBytes(): number {
    return this.#applier.backlogBytes;
  }

  /** Bytes that wait for the log's disk. */
  get logStagedBytes(): number {
    return this.#log.stagedBytes;
  }

  /** The promise-based face of a group; undefined when the store has no replica of it. */
  group(rangeId: RangeId): ReplicaGroup | undefined {
    const replica = this.#replicas.get(rangeId);
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
    const replica = this.#replicas.get(rangeId);
    if (replica === undefined) {
      return Promise.reject(new CairnError('NOT_LEADER', 'this store has no replica of the range'));
    }
    return this.#changer.change(replica, request);
  }

  /**
   * A descriptor that some replica of the range has applied. The replica here goes when it proves that it was
   * removed: one that was cut off hears of its removal in this way.
   */
  learnDescriptor(descriptor: RangeDescriptor): void {
    const replica = this.#replicas.get(descriptor.rangeId);
    if (replica?.isRemovedBy(descriptor, this.storeId) === true) this.#remove(replica, descriptor);
  }

  /**
   * The metadata service's word that nobody had named this replica by `asOfMs`: a message made it up. What it
   * promised binds nobody and goes with it, unless a message came since: then it may have been named.
   */
  forgetInvented(rangeId: RangeId, replicaId: ReplicaId, asOfMs: number): void {
    const replica = this.#replicas.get(rangeId);
    if (replica?.replicaId !== replicaId || !replica.isReplaceable || replica.heardMs >= asOfMs) return;
    this.#forgetEmpty(replica);
    this.#hadPromises.delete(rangeId);
    this.#log.removeRange(rangeId);
  }

  /** Closes the replica at once; its rows and its log follow. */
  #remove(replica: Replica, proof = replica.descriptor): void {
    const { rangeId } = replica;
    this.#replicas.delete(rangeId);
    if (replica.isInitialised) this.#spans.remove(replica);
    const wasLeading = replica.isReadyLeader;
    this.#heartbeats.leave(replica);
    this.#receiver.forget(rangeId);
    this.#removal.begin(replica, proof);
    if (wasLeading) this.#tellLeadership(replica, false);
    this.#options.onReplicaChanged?.(rangeId);
  }

  /** The replica whose span covers the key, if one is here. */
  replicaCovering(key: Uint8Array): Replica | undefined {
    return this.#spans.covering(key);
  }

  #refusesSnapshot(header: SnapshotHeader, from: StoreId): string | undefined {
    return refusalOf(header, from, {
      storeId: this.storeId,
      replica: this.#replicas.get(header.rangeId),
      isGone: this.#removal.isGone(header.rangeId, header.to),
      overlaps: this.#overlapping(header.descriptor),
    });
  }

  #overlapping(descriptor: RangeDescriptor): { readonly rangeId: RangeId } | undefined {
    return (
      this.#removal.overlapping(descriptor) ??
      this.#held.overlapping(descriptor) ??
      this.#spans.overlapping(descriptor)
    );
  }

  /** A session that a peer store opened for raft frames; `close` ends it once one cannot be read. */
  raftSource(from: StoreId, close: (error: CairnError) => void): InboundSource {
    return this.#inbound.source(from, close);
  }

  /**
   * One raft frame of a peer store. Bounded: beyond `inboundBytesMax`, and a quarter of it for each source,
   * frames are dropped, which Raft tolerates.
   */
  receiveRaftFrame(source: InboundSource, body: Buffer): void {
    this.#inbound.push(source, body);
    this.#turns.schedule();
  }

  /** True when the budget of the turn was spent before everything was worked off. */
  #drainInbound(startedMs: number): boolean {
    if (!this.#inbound.hasWaiting) return false;
    const { clock, config } = this.#options;
    this.#inbound.drain(
      {
        bytesMax: config.inboundBytesPerTurn,
        endsAtMs: startedMs + config.turnBudgetMs,
        nowMs: () => clock.nowMs(),
      },
      this.#deliverInbound,
    );
    return this.#inbound.hasWaiting;
  }

  readonly #deliverInbound: DeliverMessage = (from, rangeId, message, hint) =>
    this.#delivery.deliver(from, rangeId, message, hint);

  /** A heartbeat frame of a peer store. Throws CORRUPTION for a garbled one: its session must end. */
  receiveHeartbeat(from: StoreId, body: Buffer): void {
    if (this.#isClosed) return;
    this.#heartbeats.receive(from, body);
  }

  /** A peer store offers a snapshot; frames of the stream go to what is returned. */
  get snapshotReceiver(): SnapshotReceiver {
    return this.#receiver;
  }

  /**
   * The stream of a snapshot is complete. Whether the core asks for it to be installed. Throws CORRUPTION for
   * one that no member can have sent.
   */
  #stepSnapshot(from: StoreId, rangeId: RangeId, message: Message & { type: 'snapshot' }): boolean {
    const refusal = this.#delivery.deliver(from, rangeId, message, undefined);
    if (refusal !== undefined) throw refusal;
    this.#turns.schedule();
    return this.#replicas.get(rangeId)?.raft.installing === message.meta;
  }

  /**
   * Makes room for the birth of a range that messages announced first, or for another empty replica. What
   * this one promised stays in its log.
   */
  #forgetEmpty(replica: Replica): void {
    assert(replica.isReplaceable, 'only an empty replica makes room', { range: replica.rangeId });
    replica.isClosed = true;
    replica.reads.refuseAll();
    // A leader may count on its hold of the vote, which the new begins anew.
    this.#heartbeats.leave(replica);
    this.#receiver.forget(replica.rangeId);
    this.#replicas.delete(replica.rangeId);
    this.#hadPromises.add(replica.rangeId);
  }

  /** A replica without a state: it takes part in votes and waits for a snapshot. */
  #createEmptyReplica(rangeId: RangeId, replicaId: ReplicaId, confVersionSeen: number): Replica {
    return this.#newReplica(beginEmptyLog(this.#log.range(rangeId), replicaId, confVersionSeen));
  }

  /** The stream to a store broke: followers of its leaders need not wait for their full election timeout. */
  peerLost(storeId: StoreId): void {
    const nowMs = this.#options.clock.nowMs();
    this.#heartbeats.peerLost(storeId);
    for (const replica of this.#replicas.values()) {
      if (!replica.isLeader && replica.leaderStoreId === storeId && !replica.raft.isSupporting) {
        replica.raft.leaderStoreLost(nowMs);
        this.#turns.enqueue(replica);
      }
    }
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
    await cutRange(this.#replicas.get(rangeId), { version, keys, ids });
  }

  /** Shows the range the cluster version, if it is led here and none of its leaders has; see `proposeNoop`. */
  markVersion(rangeId: RangeId): void {
    proposeNoop(this.#replicas.get(rangeId), this.#options.gates);
  }

  async #applyStoreCommand(replica: Replica, entry: Entry): Promise<void> {
    const command = decodeStoreCommand(entry.payload, this.#options.clusterVersions);
    if (command.type === 'noop') noopApplied(replica, command);
    else await this.#applySplit(replica, entry, command);
  }

  async #applySplit(replica: Replica, entry: Entry, command: SplitCommand): Promise<void> {
    const children = await applySplit(
      {
        engine: this.#options.engine,
        log: this.#log,
        storeId: this.storeId,
        canCreate: (child, replicaId) => this.#makeRoomFor(child, replicaId),
        addChild: (descriptor, replicaId, machine) => {
          const child = this.#addChild(descriptor, replicaId, machine);
          machine.attach?.(child);
          child.isMachineOpen = true;
          return child;
        },
      },
      replica,
      entry,
      command,
    );
    const nowMs = this.#options.clock.nowMs();
    for (const child of children) {
      // Where the parent's leader is, the child's shall be: it opens the first election alone.
      if (replica.isLeader) child.raft.campaign(nowMs);
      this.#delivery.deliverEarly(child.rangeId);
      child.wake();
    }
    if (children.length > 0) this.#metrics.split();
    this.#options.onReplicaChanged?.(replica.rangeId);
  }

  /** Whether a split may bear the child here: not when it is here already, later than its birth, or was. */
  #makeRoomFor(child: RangeId, replicaId: ReplicaId): boolean {
    if (this.#held.has(child) || this.#removal.isGone(child, replicaId)) return false;
    const existing = this.#replicas.get(child);
    if (existing === undefined) return true;
    // Whatever id a message gave it: that this one is created here is in the range's log.
    if (!existing.isReplaceable) return false;
    this.#forgetEmpty(existing);
    return true;
  }

  #applyConfigEntry(replica: Replica, entry: Entry): void {
    const change = decodeConfigChange(entry.payload);
    const config = replica.raft.applyConfigChange(entry.payload);
    const descriptor = descriptorAfterChange(replica.descriptor, config, decodeNewMembers(change.context));
    replica.setDescriptor(descriptor);
    const isMember = descriptor.replicas.some((member) => member.replicaId === replica.replicaId);
    if (!isMember) {
      this.#remove(replica);
      return;
    }
    if (replica.contact.support?.kind === 'leading') this.#heartbeats.lead(replica);
    this.#options.onReplicaChanged?.(replica.rangeId);
  }

  #installSnapshot(replica: Replica, ready: Ready): void {
    const meta = ready.snapshot;
    assert(meta !== undefined, 'only called with a snapshot');
    replica.installation = this.#receiver.install(replica, meta).then(() => {
      replica.installation = undefined;
      replica.isMachineOpen = true;
      if (replica.isClosed) return;
      replica.raft.snapshotInstalled(meta);
      this.#options.onReplicaChanged?.(replica.rangeId);
      this.#applier.unblock(replica);
      replica.wake();
    }, this.#fatal);
  }

  #leadershipChanged(replica: Replica): void {
    this.#leadershipLog.changed(replica);
    if (!replica.isLeader) this.#tellLeadership(replica, false);
    replica.wake();
    this.#options.onReplicaChanged?.(replica.rangeId);
  }

  #readyToLead(replica: Replica): void {
    replica.isReadyLeader = true;
    this.#heartbeats.lead(replica);
    replica.machine?.leadershipGained(replica.term);
    this.#tellLeadership(replica, true);
    this.#options.onReplicaChanged?.(replica.rangeId);
  }

  #tellLeadership(replica: Replica, isLeader: boolean): void {
    for (const listener of replica.leadershipListeners) listener(isLeader, replica.term);
  }

  #ticked(): void {
    this.#metrics.inboundWaits(this.#inbound.waitingBytes);
    this.#metrics.applyBacklog(this.#applier.backlogBytes);
    this.#leadershipLog.poll();
    this.disk.poll();
    this.#checkpointer.poll()?.catch(this.#fatal);
  }

  readonly #fatal = (error: unknown): void => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ticker.stop();
    this.#turns.stop();
    this.#applier.stop();
    this.#held.stop();
    this.#options.logger.error('store stopped', { reason: messageOf(error) });
    const coded = CairnError.is(error)
      ? error
      : new CairnError('INTERNAL', messageOf(error), { cause: error });
    this.#options.onFatal(coded);
  };

  /** Replicas that wait for room, see `HeldReplicas`. */
  get heldReplicas(): number {
    return this.#held.size;
  }

  /**
   * Stops the loop and leaves a checkpoint, unless the disk has no room for it: then the next start replays
   * the log. Leaders should have been transferred before.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#ticker.stop();
    this.#held.stop();
    const settling = this.#checkpointer.run().then(() => this.#removal.settled());
    const isSettled = await orOutOfRoom(this.#options.clock, this.disk, settling, this.#fatal);
    this.#isClosed = true;
    this.#turns.stop();
    this.#applier.stop();
    if (isSettled) await this.#applier.idle();
    for (const replica of this.#replicas.values()) replica.close();
    this.#sender.stop();
    this.#options.links.close();
    await this.#log.close();
  }
}
