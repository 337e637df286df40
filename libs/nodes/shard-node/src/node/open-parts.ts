import {
  CairnError,
  timestamp,
  type Closers,
  type RangeDescriptor,
  type RangeId,
  type Timestamp,
} from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { RowCache, rowSpansOf } from '@cairn/mvcc';
import { type Listener, LogBudget } from '@cairn/ports';
import { saveIdentity, SessionLinks, Store, type NodeIdentity } from '@cairn/store';
import { createRpcServer } from '@cairn/wire';
import type { JoinResponse } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import { StoreChanges } from '../kv/changes/store-changes.js';
import { KvMachine, type KvMachineHost } from '../kv/kv-machine.js';
import { KvScratch } from '../kv/kv-scratch.js';
import { KvService } from '../kv/kv-service.js';
import { LaggingSessions } from '../kv/lagging-sessions.js';
import { ReadRoom } from '../kv/read-room.js';
import { StoreReservations } from '../kv/reservations/store-reservations.js';
import { WIDEST_SIZE_LIMITS } from '../kv/request-checks.js';
import { ScanCacheBudget } from '../kv/scan-cache.js';
import { ScanSlots } from '../kv/scan-slots.js';
import { StoreSafePoint } from '../kv/store-safe-point.js';
import { StoreTimestamps } from '../kv/store-timestamps.js';
import { decodeVolatileState } from '../kv/volatile-state.js';
import { CatchUp } from './catch-up.js';
import { ClusterKnowledge } from './cluster-knowledge.js';
import { DEFAULT_GARBAGE_LIMITS, GarbageCollection } from './garbage-collection.js';
import { EngineOperator } from './engine-operator.js';
import { type HeardVersion } from './heard-version.js';
import { helloOf, type Speaker } from './join-cluster.js';
import { LostReplicas } from './lost-replicas.js';
import type { MetadataAccess } from './metadata-access.js';
import { NodeDoors } from './node-doors.js';
import { measureNode } from './node-metrics.js';
import type { ShardNodeOptions } from './node-options.js';
import { RangeReports } from './range-reports.js';
import { RangeSplitter } from './range-splitter.js';
import { ReplicaMover } from './replica-mover.js';
import { handleShardRpc } from './shard-rpc.js';

/** A node that belongs to the cluster and has opened nothing of its own yet. */
export interface JoinedNode {
  readonly options: ShardNodeOptions;
  readonly identity: NodeIdentity;
  readonly version: HeardVersion;
  readonly listener: Listener;
  /** Where others reach it. */
  readonly address: string;
  readonly metadata: MetadataAccess;
  readonly startedUnixMs: number;
  /** What it was told when it joined. */
  readonly joined: JoinResponse;
}

/** A node whose store is open; nobody is served and nobody told yet. */
export interface OpenedNode extends JoinedNode {
  readonly cluster: ClusterKnowledge;
  readonly timestamps: StoreTimestamps;
  readonly machines: ReadonlyMap<RangeId, KvMachine>;
  readonly service: KvService;
  readonly links: SessionLinks;
  readonly store: Store;
  readonly reports: RangeReports;
  readonly splitter: RangeSplitter;
  readonly garbage: GarbageCollection;
  readonly lostReplicas: LostReplicas;
  readonly catchUp: CatchUp;
  readonly doors: NodeDoors;
  /** The smallest start timestamp of any lock in the ranges that are led here; 0 = none. */
  oldestLock(): Timestamp;
}

/** The parts below the store: it is opened with them, and they ask it once it is open. */
interface BelowStore {
  readonly cluster: ClusterKnowledge;
  readonly timestamps: StoreTimestamps;
  readonly engine: KvEngine;
  readonly host: KvMachineHost;
  readonly service: KvService;
  readonly links: SessionLinks;
  readonly reports: RangeReports;
}

/** The one circle among the parts: machines and links ask the store that is opened with them. */
interface LateStore {
  store: Store | undefined;
}

/**
 * Opens what the directory holds, from the engine up; each part gets those below it. What was opened is told
 * to the closers at once: they undo it when a later part cannot be.
 */
export async function openParts(node: JoinedNode, closers: Closers): Promise<OpenedNode> {
  const late: LateStore = { store: undefined };
  const below = await openBelowStore(node, late, closers);
  const store = await openStore(node, below);
  late.store = store;
  closers.add('store', () => store.close());
  return assemble(node, below, store);
}

async function openBelowStore(node: JoinedNode, late: LateStore, closers: Closers): Promise<BelowStore> {
  const { options, metadata, joined } = node;
  const { clock, kvLimits, logger, metrics, rng, tracer } = options;
  const cluster = new ClusterKnowledge(joined);
  const timestamps = new StoreTimestamps({ fetch: () => metadata.timestamp() }, clock);
  timestamps.observe(joined.timestamp as Timestamp);
  const engine = await options.openEngine();
  closers.add('engine', () => engine.close());
  const lagging = new LaggingSessions(clock);
  const shared = {
    ...{ clock, tracer, timestamps },
    limits: kvLimits,
    scanSlots: new ScanSlots(clock, kvLimits, lagging),
    readRoom: new ReadRoom(clock, kvLimits, lagging),
    machines: new Map<RangeId, KvMachine>(),
    covering: (key: Uint8Array): RangeDescriptor | undefined =>
      late.store?.replicaCovering(key)?.descriptorOrUndefined,
  };
  const changes = new StoreChanges(clock, timestamps, kvLimits);
  const reservations = new StoreReservations(kvLimits);
  const service = new KvService({
    ...shared,
    heldQuestions: changes.held,
    heldReserves: reservations.held,
    metrics,
    lagging,
    sizes: () => cluster.settings?.sizes ?? WIDEST_SIZE_LIMITS,
    gates: node.version.gates,
    idSeed: rng.integer(2 ** 32),
  });
  const host: KvMachineHost = {
    ...shared,
    engine,
    logger,
    rowCache: new RowCache(options.rowCacheBytes),
    scanCache: new ScanCacheBudget(kvLimits.scanCacheBytesMax),
    safePoint: new StoreSafePoint(engine),
    gcSafePoint: () => cluster.gcSafePoint,
    scratch: new KvScratch(),
    changes,
    reservations,
    damaged: (error) => {
      stopDamaged(options, error);
    },
  };
  const links = openLinks(node, late);
  closers.add('links', () => {
    links.close();
  });
  links.setPeers(cluster.peers);
  return { cluster, timestamps, engine, host, service, links, reports: new RangeReports() };
}

function stopDamaged(options: ShardNodeOptions, error: CairnError): void {
  options.logger.error('rows cannot be read, the node stops', { reason: error.message, ...error.details });
  options.onFatal(error);
}

/** The node, as far as it tells others of itself. */
export function speakerOf({ options, identity, version }: JoinedNode): Speaker {
  return { identity, build: options.build, gates: version.gates };
}

function openLinks(node: JoinedNode, late: LateStore): SessionLinks {
  const { options, identity } = node;
  const { clock, logger, metrics, rng, storeConfig, transport } = options;
  const misfits = new LogBudget({ clock, logger, event: 'another store does not fit this one' });
  return new SessionLinks({
    ...{ transport, clock, rng, logger, metrics, storeId: identity.storeId },
    hello: (purpose) => helloOf(speakerOf(node), purpose, storeConfig),
    peerLost: (storeId) => {
      late.store?.peerLost(storeId);
    },
    linkFailed: (store, error) => {
      // The log has no line for a link that ends by itself: stores stop and start.
      if (!CairnError.is(error) || error.code !== 'FAILED_PRECONDITION') return;
      misfits.write({ store, reason: error.message });
    },
  });
}

function openStore({ options, identity, version }: JoinedNode, below: BelowStore): Promise<Store> {
  const { clock, directory, disk, logger, metrics, rng } = options;
  const { engine, host, links, reports } = below;
  const mark = {
    incarnation: identity.incarnation,
    isMade: identity.isStoreMade,
    made: () => saveIdentity(disk, directory, { ...identity, isStoreMade: true }),
  };
  return Store.open({
    mark,
    ...{ storeId: identity.storeId, directory, disk, clock, rng, logger, metrics, engine, links },
    config: options.storeConfig,
    gates: version.gates,
    clusterVersions: options.build.clusterVersions,
    ...(options.logSegmentBytes === undefined ? {} : { logSegmentBytes: options.logSegmentBytes }),
    ...(options.logCacheBytes === undefined ? {} : { logCacheBytes: options.logCacheBytes }),
    ...(options.logStagedBytesMax === undefined ? {} : { logStagedBytesMax: options.logStagedBytesMax }),
    openSnapshotChannel: (to) => links.openSnapshotChannel(to),
    spansOf: ({ startKey, endKey }) => rowSpansOf(startKey, endKey),
    checkVolatileState: decodeVolatileState,
    machineFor: (descriptor, isInitial) => KvMachine.create(host, descriptor, isInitial),
    onFatal: (error) => {
      options.onFatal(error);
    },
    onReplicaChanged: (rangeId) => {
      reports.changed(rangeId);
    },
  });
}

/** What looks after the ranges of an open store, and lets others in. Nothing here has to be closed. */
function assemble(node: JoinedNode, below: BelowStore, store: Store): OpenedNode {
  const { options, metadata } = node;
  const { clock, logger, metrics, storeConfig, transport } = options;
  const { cluster, engine, host, links, service, timestamps } = below;
  const { machines } = host;
  const mover = new ReplicaMover({ metadata, store });
  const splitter = new RangeSplitter({
    ...{ engine, logger, metadata, store, machines },
    sizes: () => cluster.heardSettings,
  });
  const garbage = new GarbageCollection({
    ...{ engine, clock, logger, metrics, machines, limits: DEFAULT_GARBAGE_LIMITS },
    newestTimestamp: () => timestamps.max,
    safePoint: () => cluster.gcSafePoint,
    lockFreeBelow: () => cluster.lockFreeBelow,
    lifeMs: () => cluster.heardSettings.gcLifeMs,
    damaged: (error) => {
      stopDamaged(options, error);
    },
  });
  const lostReplicas = new LostReplicas({
    ...{ clock, logger },
    stores: () => cluster.stores,
    change: (rangeId, confVersion, change) => mover.change(rangeId, confVersion, change),
  });
  const rpc = createRpcServer({ clock, logger });
  handleShardRpc(rpc, {
    ...{ metrics, splitter, mover, store, machines },
    engine: new EngineOperator({ engine, name: options.engineName, clock, logger }),
    storeInfo: (id) => cluster.store(id),
    limits: () => cluster.settings,
  });
  const doors = new NodeDoors({
    ...{ clock, logger, metrics, transport, service, links, store, rpc },
    hello: (purpose) => helloOf(speakerOf(node), purpose, storeConfig),
  });
  const catchUp = new CatchUp(options, store.replicas());
  measureNode(metrics, {
    ...{ rowCache: host.rowCache, scanCache: host.scanCache, changes: host.changes },
    reservations: host.reservations,
    refusals: () => timestamps.refusals,
    replicas: () => store.replicas(),
  });
  return {
    ...{ ...node, ...below, machines, store, splitter, garbage, lostReplicas, catchUp, doors },
    oldestLock: () => oldestLockOf(machines.values()),
  };
}

/** Of the ranges that are led here; 0 = nothing is locked. */
function oldestLockOf(machines: Iterable<KvMachine>): Timestamp {
  let oldest = Infinity;
  for (const { replica, oldestLockStart } of machines) {
    if (replica.isLeader && oldestLockStart !== undefined) oldest = Math.min(oldest, oldestLockStart);
  }
  return timestamp(oldest === Infinity ? 0 : oldest);
}
