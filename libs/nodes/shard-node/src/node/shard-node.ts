import {
  assert,
  CairnError,
  messageOf,
  rethrowInvariant,
  type RangeDescriptor,
  type RangeId,
  type ReplicaId,
  type StoreId,
} from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { descriptorFromMessage } from '@cairn/metadata';
import { RowCache, rowSpansOf } from '@cairn/mvcc';
import {
  sleep,
  type Clock,
  type Disk,
  type Listener,
  type Logger,
  type Metrics,
  type Rng,
  type Timer,
  type Tracer,
  type Transport,
} from '@cairn/ports';
import {
  HandOver,
  METADATA_ACCEPTOR,
  openIdentity,
  saveIdentity,
  SessionLinks,
  Store,
  type NodeIdentity,
  type StoreConfig,
} from '@cairn/store';
import {
  buildToMessage,
  SessionAcceptor,
  createRpcServer,
  LogBudget,
  type BuildVersions,
  type Hello,
  type Session,
  type SessionHandlers,
  type SessionRpcServer,
} from '@cairn/wire';
import {
  NodeKind,
  type HeartbeatResponse,
  type JoinResponse,
  type StoreInfo,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import { KvMachine, type KvMachineHost } from '../kv/kv-machine.js';
import { KvScratch } from '../kv/kv-scratch.js';
import { KvService, type KvServiceParts } from '../kv/kv-service.js';
import { LaggingSessions } from '../kv/lagging-sessions.js';
import type { KvLimits } from '../kv/kv-limits.js';
import { ReadRoom } from '../kv/read-room.js';
import { ScanCacheBudget } from '../kv/scan-cache.js';
import { WIDEST_SIZE_LIMITS } from '../kv/request-checks.js';
import { ScanSlots } from '../kv/scan-slots.js';
import { StoreSafePoint } from '../kv/store-safe-point.js';
import { StoreTimestamps } from '../kv/store-timestamps.js';
import { CatchUp } from './catch-up.js';
import { EngineOperator } from './engine-operator.js';
import { DEFAULT_GARBAGE_LIMITS, GarbageCollection } from './garbage-collection.js';
import { FreeSpace } from './free-space.js';
import { HeardVersion } from './heard-version.js';
import { helloOf, joinCluster, metadataHelloOf, type Speaker } from './join-cluster.js';
import { LostReplicas } from './lost-replicas.js';
import type { MetadataAccess } from './metadata-access.js';
import { measureNode } from './node-metrics.js';
import { nodeSettingsOf, type NodeSettings } from './node-settings.js';
import { RangeReports } from './range-reports.js';
import { RangeRounds } from './range-rounds.js';
import { RangeSplitter } from './range-splitter.js';
import { ReplicaMover } from './replica-mover.js';
import { handleShardRpc } from './shard-rpc.js';

const HEARTBEAT_INTERVAL_MS = 1_000;
/** Changes wait this long for company before a heartbeat of their own. */
const CHANGE_DELAY_MS = 20;
/** Leaders hand over this long at most before the node stops. */
const DRAIN_TIMEOUT_MS = 5_000;

export interface ShardNodeOptions {
  readonly name: string;
  readonly build: BuildVersions;
  readonly directory: string;
  /** Framed transport; port 0 picks one. */
  readonly listen: string;
  /** What others are told instead of the listening address, when it differs. */
  readonly advertise?: string;
  /** Health and metrics, for operators who list nodes. */
  readonly publicAddress: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  readonly storeConfig: StoreConfig;
  readonly kvLimits: KvLimits;
  readonly rowCacheBytes: number;
  /** With less than this free, writes that need space are refused. 0 = never. */
  readonly diskReserveBytes: number;
  /** The directory is new, and this store, which had the name, is lost for good; 0 = none. */
  readonly replacesStoreId: number;
  readonly logSegmentBytes?: number;
  readonly logCacheBytes?: number;
  readonly logStagedBytesMax?: number;
  /** Opens the engine of the node, below its directory. */
  openEngine(): Promise<KvEngine>;
  /** The metadata service, as this node reaches it. */
  metadata(hello: () => Hello): MetadataAccess;
  /** The node can no longer do its work (log or engine failed): the process must end with the reason. */
  onFatal(error: CairnError): void;
}

interface OpenSpeaker {
  readonly identity: NodeIdentity;
  readonly version: HeardVersion;
}

function addressOf({ advertise }: ShardNodeOptions, listener: Listener): string {
  return advertise ?? listener.address;
}

/** Where reads wait their turn. */
function gatesOf({
  clock,
  kvLimits,
}: ShardNodeOptions): Pick<KvServiceParts, 'scanSlots' | 'readRoom' | 'lagging'> {
  const lagging = new LaggingSessions(clock);
  return {
    lagging,
    scanSlots: new ScanSlots(clock, kvLimits, lagging),
    readRoom: new ReadRoom(clock, kvLimits, lagging),
  };
}

/** A shard node: one store of key ranges, its place in the cluster, and its doors. `start`, then `stop`. */
export class ShardNode {
  readonly #options: ShardNodeOptions;
  readonly #identity: NodeIdentity;
  readonly #version: HeardVersion;
  readonly #address: string;
  readonly #listener: Listener;
  readonly #metadata: MetadataAccess;
  readonly #startedUnixMs: number;
  #engine: KvEngine | undefined;
  #store: Store | undefined;
  #service: KvService | undefined;
  #links: SessionLinks | undefined;
  readonly #machines = new Map<RangeId, KvMachine>();
  #splitter: RangeSplitter | undefined;
  readonly #mover: ReplicaMover;
  readonly #lostReplicas: LostReplicas;
  readonly #handOver: HandOver;
  readonly #freeSpace: FreeSpace;
  #garbage: GarbageCollection | undefined;
  readonly #reports = new RangeReports();
  /** Ranges that are being created here: they are told of when they are durable. */
  readonly #bearing = new Set<RangeId>();
  #rounds: RangeRounds<KvMachine> | undefined;
  /** What the heartbeat under way looked at. */
  #looked: readonly KvMachine[] = [];
  readonly #rpc: SessionRpcServer;
  readonly #sessions = new Set<Session>();
  readonly #acceptor: SessionAcceptor;
  #timestamps: StoreTimestamps | undefined;
  #catchUp: CatchUp | undefined;
  /** All stores of the cluster, as the metadata service last told. */
  #stores: readonly StoreInfo[] = [];
  #storesVersion = 0;
  #settingsVersion = 0;
  #heartbeats = 0;
  /**
   * What the cluster's settings say; undefined until they were heard. No range is split before, and nothing
   * is thrown away: the life of old versions may have been made longer.
   */
  #settings: NodeSettings | undefined;
  #heartbeatTimer: Timer | undefined;
  #isHeartbeating = false;
  #isStopped = false;
  #lastHeartbeatMs: number | undefined;

  private constructor(options: ShardNodeOptions, speaker: OpenSpeaker, listener: Listener) {
    const { identity, version } = speaker;
    this.#options = options;
    this.#identity = identity;
    this.#version = version;
    this.#listener = listener;
    this.#address = addressOf(options, listener);
    this.#startedUnixMs = options.clock.unixMs();
    this.#acceptor = new SessionAcceptor(options);
    this.#rpc = createRpcServer({ clock: options.clock, logger: options.logger });
    this.#metadata = options.metadata(() => metadataHelloOf(this.#speaker, options.clock));
    this.#mover = new ReplicaMover({ metadata: this.#metadata, store: () => this.store });
    this.#handOver = new HandOver({ clock: options.clock, replicas: () => this.store.replicas() });
    this.#freeSpace = new FreeSpace(options);
    this.#lostReplicas = new LostReplicas({
      clock: options.clock,
      logger: options.logger,
      stores: () => this.#stores,
      change: (rangeId, confVersion, change) => this.#mover.change(rangeId, confVersion, change),
    });
  }

  get address(): string {
    return this.#address;
  }

  get storeId(): StoreId {
    return this.#identity.storeId;
  }

  /**
   * Joins the cluster, recovers what the directory holds and serves. Rejects with a sentence for people when
   * it must not.
   */
  static async start(options: ShardNodeOptions): Promise<ShardNode> {
    // Before anything is changed: the directory may be none for this build.
    const version = await HeardVersion.open(options);
    const identity = await openIdentity(options, options.directory, options.name, [METADATA_ACCEPTOR]);
    const ready: { node: ShardNode | undefined } = { node: undefined };
    const listener = await options.transport.listen(options.listen, (connection) => {
      if (ready.node === undefined) connection.close();
      else ready.node.#accept(connection);
    });
    let metadata: MetadataAccess | undefined;
    try {
      const address = addressOf(options, listener);
      const { gates } = version;
      const joined = await joinCluster({ ...options, identity, gates, address });
      // Before anything else is written: from now on every copy that was made before is an older one.
      await saveIdentity(options.disk, options.directory, joined.identity);
      await version.keep(joined.response.clusterVersion);
      const node = new ShardNode(options, { identity: joined.identity, version }, listener);
      metadata = node.#metadata;
      await node.#openAlive(joined.response);
      ready.node = node;
      node.#beat();
      return node;
    } catch (error) {
      metadata?.close();
      await listener.close();
      throw error;
    }
  }

  /**
   * To open a store may take minutes in which there are no heartbeats, and a process of which the metadata
   * service has no session counts as ended: a copy of this directory would be taken for the node.
   */
  async #openAlive(joined: JoinResponse): Promise<void> {
    const { clock, logger } = this.#options;
    const opening = new AbortController();
    const showLife = async (): Promise<void> => {
      while (!opening.signal.aborted) {
        await this.#metadata.timestamp().catch((error: unknown) => {
          rethrowInvariant(error);
          if (opening.signal.aborted) return;
          logger.info('metadata not reached while the store is opened', { reason: messageOf(error) });
        });
        await sleep(clock, HEARTBEAT_INTERVAL_MS, opening.signal);
      }
    };
    showLife().catch((error: unknown) => {
      rethrowInvariant(error);
      assert(opening.signal.aborted, 'only the end of the opening ends it', { error: messageOf(error) });
    });
    try {
      await this.#open(joined);
    } finally {
      opening.abort();
    }
  }

  get #speaker(): Speaker {
    return { identity: this.#identity, build: this.#options.build, gates: this.#version.gates };
  }

  #hello(purpose: Hello['purpose']): Hello {
    const { leaseDurationMs, voteHoldMs } = this.#options.storeConfig;
    return helloOf(this.#speaker, purpose, { leaseDurationMs, voteHoldMs });
  }

  #damaged(error: CairnError): void {
    this.#options.logger.error('rows cannot be read, the node stops', {
      reason: error.message,
      ...error.details,
    });
    this.#options.onFatal(error);
  }

  async #open(joined: JoinResponse): Promise<void> {
    const options = this.#options;
    const timestamps = new StoreTimestamps({ fetch: () => this.#metadata.timestamp() }, options.clock);
    timestamps.observe(joined.timestamp as Parameters<StoreTimestamps['observe']>[0]);
    this.#timestamps = timestamps;
    const engine = await options.openEngine();
    this.#engine = engine;
    const gates = gatesOf(options);
    const covering = (key: Uint8Array): RangeDescriptor | undefined =>
      this.#store?.replicaCovering(key)?.descriptorOrUndefined;
    const service = new KvService({
      clock: options.clock,
      tracer: options.tracer,
      metrics: options.metrics,
      limits: options.kvLimits,
      sizes: () => this.#settings?.sizes ?? WIDEST_SIZE_LIMITS,
      timestamps,
      idSeed: options.rng.integer(2 ** 32),
      machines: this.#machines,
      covering,
      ...gates,
    });
    this.#service = service;
    const rowCache = new RowCache(options.rowCacheBytes);
    const scanCache = new ScanCacheBudget(options.kvLimits.scanCacheBytesMax);
    const environment: KvMachineHost = {
      engine,
      rowCache,
      scanCache,
      timestamps,
      safePoint: new StoreSafePoint(engine),
      covering,
      clock: options.clock,
      logger: options.logger,
      tracer: options.tracer,
      limits: options.kvLimits,
      scratch: new KvScratch(),
      ...gates,
      damaged: (error) => {
        this.#damaged(error);
      },
      machines: this.#machines,
    };
    const links = this.#openLinks(joined);
    this.#store = await Store.open({
      storeId: this.#identity.storeId,
      directory: options.directory,
      disk: options.disk,
      clock: options.clock,
      rng: options.rng,
      logger: options.logger,
      metrics: options.metrics,
      engine,
      config: options.storeConfig,
      ...(options.logSegmentBytes === undefined ? {} : { logSegmentBytes: options.logSegmentBytes }),
      ...(options.logCacheBytes === undefined ? {} : { logCacheBytes: options.logCacheBytes }),
      ...(options.logStagedBytesMax === undefined ? {} : { logStagedBytesMax: options.logStagedBytesMax }),
      links,
      gates: this.#version.gates,
      clusterVersions: options.build.clusterVersions,
      openSnapshotChannel: (to) => links.openSnapshotChannel(to),
      spansOf: ({ startKey, endKey }) => rowSpansOf(startKey, endKey),
      machineFor: (descriptor, isInitial) => KvMachine.create(environment, descriptor, isInitial),
      onFatal: (error) => {
        options.onFatal(error);
      },
      onReplicaChanged: (rangeId) => {
        this.#replicaChanged(rangeId);
      },
    });
    this.#rounds = new RangeRounds(
      () => this.store.replicas(),
      (rangeId) => this.#machines.get(rangeId),
    );
    this.#splitter = new RangeSplitter({
      engine,
      logger: options.logger,
      metadata: this.#metadata,
      store: () => this.store,
      machines: this.#machines,
      sizes: () => this.#heardSettings(),
    });
    this.#garbage = new GarbageCollection({
      engine,
      clock: options.clock,
      logger: options.logger,
      metrics: options.metrics,
      limits: DEFAULT_GARBAGE_LIMITS,
      machines: this.#machines,
      newestTimestamp: () => timestamps.max,
      lifeMs: () => this.#heardSettings().gcLifeMs,
      damaged: (error) => {
        this.#damaged(error);
      },
    });
    this.#opened(this.#splitter, new EngineOperator({ ...options, engine }));
    this.#measure(rowCache, scanCache);
  }

  #opened(splitter: RangeSplitter, engine: EngineOperator): void {
    handleShardRpc(this.#rpc, {
      metrics: this.#options.metrics,
      splitter,
      engine,
      mover: this.#mover,
      store: () => this.store,
      storeInfo: (id) => this.#stores.find((info) => info.storeId === id),
      limits: () => this.#settings,
    });
    this.#catchUp = new CatchUp(this.#options, this.store.replicas());
    this.#catchUp.start();
  }

  #openLinks(joined: JoinResponse): SessionLinks {
    const options = this.#options;
    const { clock, logger } = options;
    const misfits = new LogBudget({ clock, logger, event: 'another store does not fit this one' });
    const links = new SessionLinks({
      transport: options.transport,
      clock: options.clock,
      rng: options.rng,
      logger: options.logger,
      metrics: options.metrics,
      storeId: this.#identity.storeId,
      hello: (purpose) => this.#hello(purpose),
      peerLost: (storeId) => {
        this.#store?.peerLost(storeId);
      },
      linkFailed: (store, error) => {
        // What ends by itself is no line: stores stop and start.
        if (!CairnError.is(error) || error.code !== 'FAILED_PRECONDITION') return;
        misfits.write({ store, reason: error.message });
      },
    });
    this.#links = links;
    this.#learnStores(joined.stores);
    return links;
  }

  get store(): Store {
    assert(this.#store !== undefined, 'the node is not open');
    return this.#store;
  }

  /** A store that was declared lost never comes back: nobody dials it. */
  #learnStores(stores: readonly StoreInfo[]): void {
    this.#stores = stores;
    const there = stores.filter((info) => !info.lost);
    this.#links?.setPeers(there.map(({ storeId, address }) => ({ storeId: storeId as StoreId, address })));
  }

  /** A connection from a router or another node. */
  #accept(connection: Parameters<Parameters<Transport['listen']>[1]>[0]): void {
    this.#acceptor.accept(connection, {
      hello: (remote) => {
        if (remote.purpose === 'raft' || remote.purpose === 'bulk') this.#links?.checkRemote(remote);
        return this.#hello(remote.purpose);
      },
      onSession: (session, remote) => this.#handlersFor(session, remote),
    });
  }

  #handlersFor(session: Session, remote: Hello): SessionHandlers {
    const door = this.#doorFor(session, remote);
    this.#sessions.add(session);
    return {
      onFrame: (type, body) => {
        door.onFrame(type, body);
      },
      onClose: (error) => {
        this.#sessions.delete(session);
        door.onClose(error);
      },
    };
  }

  /** Throws CairnError for a session that is refused. */
  #doorFor(session: Session, remote: Hello): SessionHandlers {
    switch (remote.purpose) {
      case 'kv': {
        assert(this.#service !== undefined, 'the node is open');
        const service = this.#service;
        const accepted = service.accept(session);
        return {
          onFrame: (type, body) => {
            accepted.onFrame(type, body);
          },
          onClose: () => {
            service.closed(accepted);
          },
        };
      }
      case 'raft':
      case 'bulk':
        assert(this.#links !== undefined, 'the node is open');
        return this.#links.handlersFor(session, remote, this.store);
      case 'rpc':
        return this.#rpc.attach(session);
    }
  }

  #replicaChanged(rangeId: RangeId): void {
    this.#reports.changed(rangeId);
    this.#scheduleBeat(CHANGE_DELAY_MS);
  }

  #scheduleBeat(delayMs: number): void {
    if (this.#isStopped || this.#isHeartbeating) return;
    this.#heartbeatTimer?.cancel();
    this.#heartbeatTimer = this.#options.clock.setTimer(delayMs, () => {
      this.#beat();
    });
  }

  /**
   * One heartbeat, and whatever it brings; the next follows. Also looks after ranges that have grown too
   * large.
   */
  #beat(): void {
    if (this.#isStopped || this.#isHeartbeating) return;
    this.#isHeartbeating = true;
    this.#heartbeat()
      .catch((error: unknown) => {
        rethrowInvariant(error);
        this.#heartbeatFailed(error);
      })
      .finally(() => {
        this.#isHeartbeating = false;
        if (this.#settings !== undefined) {
          this.#splitter?.poll(this.#looked);
          this.#garbage?.poll(this.#looked);
          this.#lostReplicas.poll(this.#looked);
        }
        for (const { replica } of this.#looked) this.#store?.markVersion(replica.rangeId);
        this.#looked = [];
        this.#scheduleBeat(this.#reports.hasChanges ? CHANGE_DELAY_MS * 5 : HEARTBEAT_INTERVAL_MS);
      });
  }

  #heartbeatFailed(error: unknown): void {
    this.#options.logger.info('heartbeat not delivered', { reason: messageOf(error) });
    if (this.#isStopped || !CairnError.is(error)) return;
    // Another process, or another store, is this node now: this one must not go on. Nothing else says so.
    if (error.code === 'NAME_TAKEN') this.#options.onFatal(error);
  }

  async #heartbeat(): Promise<void> {
    const { clock, diskReserveBytes } = this.#options;
    assert(this.#service !== undefined && this.#rounds !== undefined, 'the node is open');
    const nowMs = clock.nowMs();
    const { machines, waiting } = this.#rounds.visit(nowMs);
    this.#looked = machines;
    for (const machine of machines) {
      if (machine.replica.isReadyLeader && machine.load.isWorthTelling(nowMs)) {
        machine.load.told(nowMs);
        this.#reports.changed(machine.replica.rangeId);
      }
    }
    const { totals } = this.#rounds;
    this.#heartbeats += 1;
    const diskFreeBytes = await this.#freeSpace.look();
    const { heldReplicas, disk } = this.store;
    this.#service.isDiskFull = disk.isOutOfRoom || diskFreeBytes < diskReserveBytes;
    const report = this.#reports.take(this.store, this.#machines, this.#bearing);
    try {
      const askedMs = clock.nowMs();
      const response = await this.#metadata.heartbeat({
        name: this.#identity.name,
        storeId: this.#identity.storeId,
        incarnation: this.#identity.incarnation,
        full: report.full,
        ranges: report.ranges,
        removedRangeIds: report.removed,
        replicas: totals.replicas,
        leaders: totals.leaders,
        dataBytes: Math.round(totals.dataBytes),
        diskFreeBytes,
        readsPerSecond: totals.readsPerSecond,
        writesPerSecond: totals.writesPerSecond,
        startedUnixMs: this.#startedUnixMs,
        kind: NodeKind.SHARD,
        address: this.#address,
        publicAddress: this.#options.publicAddress,
        sequence: this.#heartbeats,
        storesVersion: this.#storesVersion,
        settingsVersion: this.#settingsVersion,
        waitingReplicas: waiting,
        process: this.#identity.process,
        diskFull: this.#service.isDiskFull || heldReplicas > 0,
        diskLow: diskFreeBytes < 2 * diskReserveBytes,
        diskHangs: disk.hangsMs > 0,
        replicasCatchingUp: totals.catchingUp + (this.#catchUp?.pending ?? 0),
        build: buildToMessage(this.#options.build),
      });
      this.#lastHeartbeatMs = clock.nowMs();
      this.#execute(response, askedMs);
    } catch (error) {
      report.failed();
      throw error;
    }
  }

  /** Of what begins only when they are known. */
  #heardSettings(): NodeSettings {
    assert(this.#settings !== undefined, 'the settings were not heard yet');
    return this.#settings;
  }

  #execute(response: HeartbeatResponse, askedMs: number): void {
    this.#timestamps?.observe(response.timestamp as Parameters<StoreTimestamps['observe']>[0]);
    this.#version.heard(response.clusterVersion);
    this.#storesVersion = response.storesVersion;
    this.#settingsVersion = response.settingsVersion;
    if (response.wantFull) this.#reports.wantFull();
    if (response.stores.length > 0) this.#learnStores(response.stores);
    // All of them come with the first answer, and whenever one was changed.
    if (response.settings.length > 0) this.#settings = nodeSettingsOf(response.settings);
    for (const { command } of response.commands) {
      if (command?.$case === 'createReplica') {
        this.#create(descriptorFromMessage(command.value));
      } else if (command?.$case === 'removeReplica') {
        this.store.learnDescriptor(descriptorFromMessage(command.value));
      } else if (command?.$case === 'forgetReplica') {
        const { rangeId, replicaId } = command.value;
        this.store.forgetInvented(rangeId as RangeId, replicaId as ReplicaId, askedMs);
      }
    }
  }

  /**
   * What cannot be made now is asked for again by a later heartbeat. Those do not wait: on a disk without
   * room it takes as long as that lasts.
   */
  #create(descriptor: RangeDescriptor): void {
    const { rangeId } = descriptor;
    if (this.#bearing.has(rangeId)) return;
    this.#bearing.add(rangeId);
    this.store
      .createReplica(descriptor)
      .finally(() => {
        this.#bearing.delete(rangeId);
      })
      .then(() => {
        this.#replicaChanged(rangeId);
      })
      .catch((error: unknown) => {
        rethrowInvariant(error);
        this.#options.logger.warn('replica not created', { range: rangeId, reason: messageOf(error) });
      });
  }

  #measure(rowCache: RowCache, scanCache: ScanCacheBudget): void {
    measureNode(this.#options.metrics, {
      rowCache,
      scanCache,
      refusals: () => this.#timestamps?.refusals ?? 0,
      replicas: () => this.store.replicas(),
    });
  }

  /** Why the node is not ready; empty = it is. */
  readiness(): string[] {
    const reasons: string[] = [];
    if (this.#store === undefined) reasons.push('the store is being opened');
    const hangsMs = this.#store?.disk.hangsMs ?? 0;
    if (hangsMs > 0) reasons.push(`the disk has not answered for ${Math.round(hangsMs / 1000)} s`);
    const behind = this.#catchUp?.pending ?? 0;
    if (behind > 0) reasons.push(`${behind} replicas have not caught up with their leaders since the start`);
    if (this.#lastHeartbeatMs === undefined) reasons.push('not heard by the metadata service yet');
    const silentMs = this.#options.clock.nowMs() - (this.#lastHeartbeatMs ?? 0);
    if (this.#lastHeartbeatMs !== undefined && silentMs > 30_000) {
      reasons.push(`no metadata member answered for ${Math.round(silentMs / 1000)} s`);
    }
    return reasons;
  }

  /** Hands its leaderships over, writes a checkpoint and closes everything. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    await this.#handOver.drain(DRAIN_TIMEOUT_MS);
    this.#isStopped = true;
    this.#heartbeatTimer?.cancel();
    this.#garbage?.stop();
    this.#catchUp?.stop();
    await this.#listener.close();
    for (const session of this.#sessions) session.close();
    await this.#store?.close();
    await this.#engine?.close();
    this.#metadata.close();
  }
}
