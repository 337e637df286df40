import {
  CairnError,
  Gates,
  messageOf,
  NO_BYTES,
  rethrowInvariant,
  storeId,
  timestamp,
  VERSION,
} from '@cairn/base';
import { ChangeStreams, RouterSource } from '@cairn/change-stream';
import type { RouterConfig } from '@cairn/config';
import { descriptorFromMessage, MetadataClient, metadataConnector } from '@cairn/metadata';
import type { Readiness } from '@cairn/observability';
import {
  sleep,
  type Clock,
  type Logger,
  type Metrics,
  type Rng,
  type Timer,
  type Tracer,
  type Transport,
} from '@cairn/ports';
import {
  AnswersUnderWay,
  sessionStoreConnector,
  type KeyValueLimits,
  type MetadataGateway,
  type RequestRouter,
  type RouteInfo,
  type StoreAddress,
} from '@cairn/routing';
import { createCoordinatedRouter, OpenTransactions, type TransactionCoordinator } from '@cairn/transactions';
import {
  buildToMessage,
  decodeKvResponses,
  encodeKvCancel,
  encodeWatchChange,
  KvRequestEncoder,
  openSession,
  THIS_BUILD,
  RpcPool,
  type BuildVersions,
  type Hello,
} from '@cairn/wire';
import {
  NodeKind,
  type GetRoutesResponse,
  type SettingValue,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import type { CutOff } from './calls.js';
import { ClusterAdmin } from './cluster-admin.js';
import { orTimeUp, untilIdle } from './drain.js';
import { LockSweep } from './lock-sweep.js';
import { readinessOf } from './readiness.js';
import { DoorContext } from './doors/door-context.js';
import { clusterHandlers, type ClusterHandlers } from './doors/cluster-service.js';
import { createKvService, type KvDoors, type KvHandlers } from './doors/kv-service.js';
import { createTxnService, type TxnHandlers } from './doors/txn-service.js';
import { createWatchService, type WatchHandlers } from './doors/watch-service.js';

/**
 * Streams together stop being read at this part of what the router takes: holding a client back is cheaper
 * than refusing it, and the rest is left for unary calls and scans.
 */
const STREAMED_OPS_SHARE = 1 / 16;
/**
 * Pages of scans may have this part of the places at a shard node: a page is the work of hundreds of reads,
 * and whoever comes next waits behind all that are there. A few keep a router busy.
 */
const SCAN_PLACES_SHARE = 1 / 128;
/** Pages take this part of what operations may take, and as much again on their way to the client. */
const SCAN_BYTES_SHARE = 1 / 2;
/** Values that clients have asked for and not taken may take as much again. */
const ANSWER_BYTES_SHARE = 1 / 2;

/** A router that waits for longer needs somebody to look. */
const TROUBLE_MS = 10_000;
const JOIN_RETRY_MS = 300;
/** A router that stops tells the metadata service so, and does not wait longer for it. */
const LEAVE_TIMEOUT_MS = 1_000;
/** One try to join; when it has failed, the log says why. */
const JOIN_TRY_MS = 3_000;
/** Locks of transactions that were decided here may take this long to go. */
const LOCKS_TIMEOUT_MS = 1_000;
/** Streams whose last answers were written may take this long to end. */
const STREAMS_END_TIMEOUT_MS = 500;

export interface RouterContext {
  readonly config: RouterConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  /** What this process runs. Default: this build; others are for tests. */
  readonly build?: BuildVersions;
}

export interface RouterPorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly transport: Transport;
  /** Of the gRPC server that carries the calls. */
  readonly cutOff: CutOff;
}

/** A router without its gRPC server: what the doors are made of, and how it is stopped. */
export interface RunningRouter {
  readonly kv: KvHandlers;
  readonly txn: TxnHandlers;
  readonly watch: WatchHandlers;
  readonly cluster: ClusterHandlers;
  /** The connection is over from which this peer called: what it had open and did not commit is given up. */
  callerGone(peer: string): void;
  readiness(): Readiness;
  /**
   * Joins the cluster, listed at this address of its gRPC server unless the configuration advertises another.
   * Resolves when it has joined and knows its ranges; before that requests wait. Rejects with what will not
   * change. Called once.
   */
  join(address: string): Promise<void>;
  /** Lets open operations finish for a while, then gives up on them. */
  close(drainTimeoutMs: number): Promise<void>;
}

/** Makes the router of a process. It joins the cluster when it is told where its gRPC server listens. */
export function openRouter(ports: RouterPorts, context: RouterContext): RunningRouter {
  return new RouterNode(ports, context);
}

class RouterNode implements RunningRouter {
  readonly kv: KvHandlers;
  readonly txn: TxnHandlers;
  readonly watch: WatchHandlers;
  readonly cluster: ClusterHandlers;
  readonly #ports: RouterPorts;
  readonly #context: RouterContext;
  readonly #metadata: MetadataClient;
  readonly #shards: RpcPool;
  readonly #router: RequestRouter;
  readonly #coordinator: TransactionCoordinator;
  readonly #openTransactions: OpenTransactions;
  readonly #changeStreams: ChangeStreams;
  readonly #lockSweep: LockSweep;
  readonly #doors: KvDoors;
  readonly #incarnation: Buffer;
  readonly #startedUnixMs: number;
  readonly #build: BuildVersions;
  readonly #gates = new Gates(0);
  #limits: KeyValueLimits;
  /** As they were told last. */
  #stores: readonly StoreAddress[] = [];
  #clusterId = '';
  #publicAddress = '';
  #hasRanges = false;
  #isClosed = false;
  #heartbeats = 0;
  #storesVersion = 0;
  #settingsVersion = 0;
  #timer: Timer | undefined;
  /** No heartbeat may come after the word that this router leaves. */
  readonly #leaving = new AbortController();

  constructor(ports: RouterPorts, context: RouterContext) {
    this.#ports = ports;
    this.#context = context;
    this.#build = context.build ?? THIS_BUILD;
    const { clock, rng, transport } = ports;
    const { config, logger, metrics } = context;
    this.#incarnation = Buffer.from(rng.bytes(16));
    this.#startedUnixMs = Math.floor(clock.unixMs());
    this.#limits = { keyBytesMax: config.keyBytesMax, valueBytesMax: config.valueBytesMax };
    const hello = (purpose: Hello['purpose']): Hello => this.#hello(purpose);
    this.#metadata = new MetadataClient({
      addresses: config.metadataAddresses,
      connect: metadataConnector({ transport, hello: () => hello('rpc'), clock, logger }),
      clock,
      rng,
      logger,
      metrics,
    });
    this.#shards = new RpcPool({ transport, hello: () => hello('rpc'), clock, logger });
    const answers = new AnswersUnderWay();
    const { coordinator, router } = createCoordinatedRouter(
      {
        clock,
        answers,
        rng,
        logger,
        metrics,
        gateway: gatewayOf(this.#metadata),
        connector: sessionStoreConnector({
          openSession: (address, handlers) =>
            openSession({ transport, address, hello: hello('kv'), handlers, clock, logger }),
          createEncoder: () => new KvRequestEncoder(),
          decodeResponses: decodeKvResponses,
          encodeCancel: encodeKvCancel,
        }),
        breaker: {
          failuresMax: config.storeFailuresMax,
          pauseMs: config.storePauseMs,
          pauseMsMax: config.storePauseMsMax,
        },
        bounds: {
          outstandingOpsMax: config.outstandingOpsMax,
          outstandingBytesMax: config.outstandingBytesMax,
          outstandingOpsPerStoreMax: config.outstandingOpsPerStoreMax,
          outstandingScansPerStoreMax: Math.ceil(config.outstandingOpsPerStoreMax * SCAN_PLACES_SHARE),
        },
      },
      { timestamps: this.#metadata, deadlocks: this.#metadata },
    );
    this.#router = router;
    this.#coordinator = coordinator;
    this.#openTransactions = new OpenTransactions({
      ...{ coordinator, router, timestamps: this.#metadata, clock, rng, metrics },
    });
    this.#changeStreams = new ChangeStreams({
      source: new RouterSource({ router, timestamps: this.#metadata, clock }),
      ...{ clock, rng, metrics, encode: encodeWatchChange },
    });
    this.#lockSweep = new LockSweep({ shards: this.#shards, coordinator, logger });
    const doors = this.#doorContext(answers);
    this.#doors = createKvService(doors, () => ({
      clusterId: this.#clusterId,
      serverVersion: VERSION,
      ...this.#limits,
    }));
    this.kv = this.#doors.handlers;
    this.txn = createTxnService(doors);
    this.watch = createWatchService(doors, { streams: this.#changeStreams, gates: this.#gates });
    const admin = new ClusterAdmin({
      metadata: this.#metadata,
      shards: this.#shards,
      serverVersion: VERSION,
      givenUpStores: () => this.#router.givenUpStores,
      limits: () => this.#limits,
      sleep: (delayMs) => sleep(clock, delayMs),
      routesChanged: (answer) => {
        this.#takeRoutes(answer);
      },
    });
    this.cluster = clusterHandlers(admin);
  }

  #doorContext(answers: AnswersUnderWay): DoorContext {
    const { clock, rng, cutOff } = this.#ports;
    const { config, metrics, tracer } = this.#context;
    return new DoorContext({
      router: this.#router,
      answers,
      clock,
      tracer,
      metrics,
      idSeed: rng.integer(2 ** 32),
      requestTimeoutMs: config.requestTimeoutMs,
      callers: {
        streamedOpsMax: Math.ceil(config.outstandingOpsMax * STREAMED_OPS_SHARE),
        openOpsMax: config.outstandingOpsMax,
        openBytesMax: config.outstandingBytesMax,
        scanBytesMax: config.outstandingBytesMax * SCAN_BYTES_SHARE,
        answerBytesMax: config.outstandingBytesMax * ANSWER_BYTES_SHARE,
      },
      cutOff,
      freshTimestamp: () => this.#metadata.timestamp(),
      limits: () => this.#limits,
      transactions: {
        coordinator: this.#coordinator,
        open: this.#openTransactions,
        gates: this.#gates,
      },
    });
  }

  #hello(purpose: Hello['purpose']): Hello {
    const { clusterVersion } = this.#gates;
    return {
      ...this.#build,
      ...(clusterVersion === 0 ? {} : { clusterVersion }),
      purpose,
      clusterId: this.#clusterId,
      kind: 'router',
      name: this.#context.config.name,
      storeId: storeId(0),
    };
  }

  /**
   * Joins, and learns all ranges, which may be made much later; meanwhile it says that it lives. Tries until
   * it succeeds; a refusal that will not change is thrown.
   */
  async join(address: string): Promise<void> {
    const { advertise } = this.#context.config;
    this.#publicAddress = advertise === '' ? address : advertise;
    await this.#untilDone(() => this.#joinOnce());
    this.#beat();
    await this.#untilDone(() => this.#router.prefetch());
    if (this.#isClosed) return;
    this.#hasRanges = true;
    this.#context.logger.info('router joined', {
      cluster: this.#clusterId,
      ranges: this.#router.cache.size,
    });
  }

  async #untilDone(work: () => Promise<void>): Promise<void> {
    const { clock } = this.#ports;
    const beganMs = clock.nowMs();
    while (!this.#isClosed) {
      try {
        await work();
        return;
      } catch (error) {
        rethrowInvariant(error);
        // Stopped before it had joined: nobody waits for that any more.
        if (this.#isClosed && CairnError.is(error)) return;
        if (CairnError.is(error) && error.retryClass === 'fatal' && error.code !== 'DEADLINE_EXCEEDED')
          throw error;
        // Processes that start together wait for each other: only what lasts is trouble.
        const level = clock.nowMs() - beganMs < TROUBLE_MS ? 'info' : 'warn';
        this.#context.logger[level]('waiting to join the cluster', { reason: messageOf(error) });
        await sleep(clock, JOIN_RETRY_MS);
      }
    }
  }

  async #joinOnce(): Promise<void> {
    const request = {
      name: this.#context.config.name,
      kind: NodeKind.ROUTER,
      incarnation: this.#incarnation,
      clusterId: this.#clusterId,
      address: '',
      publicAddress: this.#publicAddress,
      acceptedStart: '',
      offeredStarts: [],
      process: NO_BYTES,
      replacesStoreId: 0,
      build: buildToMessage(this.#build),
    };
    const joined = await this.#metadata.join(request, { timeoutMs: JOIN_TRY_MS });
    this.#gates.raise(joined.clusterVersion);
    this.#clusterId = joined.clusterId;
    this.#takeStores(joined.stores.map(storeAddress));
  }

  #beat(): void {
    if (this.#isClosed) return;
    this.#heartbeat()
      .catch((error: unknown) => {
        rethrowInvariant(error);
        if (this.#isClosed && CairnError.is(error)) return;
        this.#context.logger.info('heartbeat not delivered', { reason: messageOf(error) });
      })
      .finally(() => {
        if (this.#isClosed) return;
        this.#timer = this.#ports.clock.setTimer(this.#context.config.heartbeatToMetadataIntervalMs, () => {
          this.#beat();
        });
      });
  }

  async #heartbeat(): Promise<void> {
    this.#heartbeats += 1;
    const request = {
      name: this.#context.config.name,
      storeId: 0,
      incarnation: this.#incarnation,
      full: false,
      ranges: [],
      removedRangeIds: [],
      replicas: 0,
      leaders: 0,
      dataBytes: 0,
      diskFreeBytes: 0,
      readsPerSecond: 0,
      writesPerSecond: 0,
      startedUnixMs: this.#startedUnixMs,
      kind: NodeKind.ROUTER,
      address: '',
      publicAddress: this.#publicAddress,
      sequence: this.#heartbeats,
      storesVersion: this.#storesVersion,
      settingsVersion: this.#settingsVersion,
      waitingReplicas: [],
      process: NO_BYTES,
      diskFull: false,
      diskLow: false,
      diskHangs: false,
      replicasCatchingUp: 0,
      build: buildToMessage(this.#build),
      oldestTransaction: this.#coordinator.oldestStart,
      oldestLock: 0,
      heardGcSafePoint: 0,
    };
    const response = await this.#metadata.heartbeat(request, { signal: this.#leaving.signal });
    this.#gates.raise(response.clusterVersion);
    this.#storesVersion = response.storesVersion;
    this.#settingsVersion = response.settingsVersion;
    if (response.stores.length > 0) this.#takeStores(response.stores.map(storeAddress));
    this.#sweepLocks(response.oldLockStoreIds);
    this.#takeSettings(response.settings);
    this.#router.refreshUnreachable();
  }

  #takeStores(stores: readonly StoreAddress[]): void {
    this.#stores = stores;
    this.#router.updateStores(stores);
  }

  #sweepLocks(ids: readonly number[]): void {
    if (ids.length === 0 || this.#isClosed) return;
    const named = new Set(ids);
    this.#lockSweep
      .look(this.#stores.filter((store) => named.has(store.storeId) && store.live))
      .catch(rethrowInvariant);
  }

  #takeSettings(settings: readonly SettingValue[]): void {
    let { keyBytesMax, valueBytesMax } = this.#limits;
    for (const { name, value } of settings) {
      if (name === 'key.max_bytes') keyBytesMax = Number(value);
      if (name === 'value.max_bytes') valueBytesMax = Number(value);
    }
    if (keyBytesMax === this.#limits.keyBytesMax && valueBytesMax === this.#limits.valueBytesMax) return;
    this.#limits = { keyBytesMax, valueBytesMax };
    this.#doors.limitsChanged();
  }

  #takeRoutes(answer: GetRoutesResponse): void {
    this.#router.takeRoutes(routesOf(answer));
  }

  callerGone(peer: string): void {
    this.#openTransactions.endAllOf(peer);
    this.#coordinator.releaseAllOf(peer);
  }

  readiness(): Readiness {
    return readinessOf({
      hasJoined: this.#clusterId !== '',
      hasRanges: this.#hasRanges,
      isClosed: this.#isClosed,
      reach: this.#router.reach,
    });
  }

  async close(drainTimeoutMs: number): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    const left = this.#leave();
    const { clock } = this.#ports;
    this.#doors.drain();
    // Whoever watches goes on at another router; no question that is held keeps this one from being idle.
    this.#changeStreams.close();
    await orTimeUp(clock, drainTimeoutMs, untilIdle(this.#router, clock));
    // Nothing of those that were not committed happened; what is decided is carried out at its last keys.
    this.#openTransactions.close();
    await this.#coordinator.close(Math.min(drainTimeoutMs, LOCKS_TIMEOUT_MS));
    // Everybody who still waits is told; the answers leave through the streams, which then end.
    this.#router.close();
    await orTimeUp(clock, Math.min(drainTimeoutMs, STREAMS_END_TIMEOUT_MS), this.#doors.streamsEnded());
    this.#doors.close();
    this.#shards.close();
    await left;
    this.#metadata.close();
  }

  /** A router that is stopped is not missed: nobody has to look why it is silent. */
  async #leave(): Promise<void> {
    this.#leaving.abort(new CairnError('CANCELLED', 'the router stops'));
    if (this.#clusterId === '') return;
    const { config, logger } = this.#context;
    const request = { name: config.name, incarnation: this.#incarnation };
    try {
      await this.#metadata.leave(request, { timeoutMs: LEAVE_TIMEOUT_MS });
    } catch (error) {
      rethrowInvariant(error);
      // It is forgotten later by itself.
      logger.info('the metadata service was not told that the router stops', { reason: messageOf(error) });
    }
  }
}

function storeAddress(store: {
  readonly storeId: number;
  readonly address: string;
  readonly live: boolean;
  readonly lost: boolean;
}): StoreAddress {
  const { address, live, lost } = store;
  return { storeId: storeId(store.storeId), address, live, lost };
}

function routesOf(answer: GetRoutesResponse): RouteInfo[] {
  return answer.routes.flatMap(({ descriptor, leaderStoreId }) =>
    descriptor === undefined
      ? []
      : [{ descriptor: descriptorFromMessage(descriptor), leaderStoreId: storeId(leaderStoreId) }],
  );
}

/** The metadata service as routing sees it. */
function gatewayOf(metadata: MetadataClient): MetadataGateway {
  return {
    routes: async (query) => {
      const answer = await metadata.routes({
        keys: query.keys.map((key) => Buffer.from(key)),
        ...(query.fromKey === undefined ? {} : { fromKey: Buffer.from(query.fromKey) }),
        limit: query.limit,
      });
      return {
        routes: routesOf(answer),
        stores: answer.stores.map(storeAddress),
      };
    },
    timestamp: () => metadata.timestamp(),
    get latestTimestamp() {
      return timestamp(metadata.latest);
    },
  };
}
