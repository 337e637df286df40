import { createServer, type AddressInfo } from 'node:net';

import { rangeId, replicaId, storeId, timestamp, type RangeDescriptor } from '@cairn/base';
import type { MetadataClient } from '@cairn/metadata';
import { noopLogger, noopMetrics, noopTracer, type Clock, type Metrics } from '@cairn/ports';
import {
  ClusterAdmin,
  clusterHandlers,
  createKvService,
  createTxnService,
  createWatchService,
  DoorContext,
  type KvDoors,
} from '@cairn/router-node';
import {
  DEFAULT_KEY_VALUE_LIMITS,
  perform,
  RequestRouter,
  type MetadataGateway,
  type StoreConnector,
} from '@cairn/routing';
import { NodeClock, NodeRng } from '@cairn/runtime-node';
import {
  KvOp,
  newKvRequest,
  newKvResponse,
  packRows,
  type KvRequest,
  type KvResponse,
  type RpcPool,
} from '@cairn/wire';
import {
  BatchResponse,
  KVClient,
  KVService,
  type BatchOperation,
  type DeleteRangeRequest,
} from '@cairn/wire/gen/cairn/v1/kv.js';
import { credentials, type ClientDuplexStream } from '@grpc/grpc-js';

import { cutOff } from './door-server.js';
import { FakeTransactions } from './fake-transactions.testing.js';
import { FakeWatches } from './fake-watches.testing.js';
import { startRouterServer, type DoorLimits, type RouterServer } from './router-server.js';

const RANGE: RangeDescriptor = {
  rangeId: rangeId(1),
  startKey: Buffer.alloc(0),
  endKey: Buffer.alloc(0),
  epoch: { version: 1, confVersion: 1 },
  replicas: [{ replicaId: replicaId(1), storeId: storeId(1), role: 'voter' }],
};

/** One store with one range in memory: answers in the next turn, or when it is told to. */
export class MemoryStore {
  readonly rows = new Map<string, Uint8Array>();
  readonly held: KvRequest[] = [];
  readonly cancelled: number[] = [];
  readonly received: KvRequest[] = [];
  /** Requests of keys that begin with this wait for `release`. */
  holdPrefix: string | undefined;
  /** Every page of a scan is one row of this value, and there is always one more. */
  endlessScan: Buffer | undefined;
  #answer: (responses: readonly KvResponse[]) => void = () => undefined;

  readonly connector: StoreConnector = {
    connect: (_id, _address, handlers) => {
      setImmediate(() => {
        handlers.onUp();
      });
      this.#answer = (responses) => {
        handlers.onResponses(responses, timestamp(77));
      };
      return {
        queuedBytes: 0,
        largeBytes: 0,
        send: (requests) => {
          const copies = requests.map((request) => ({ ...request }));
          setImmediate(() => {
            this.#receive(copies);
          });
        },
        cancel: (sequences) => {
          this.cancelled.push(...sequences);
        },
        close: () => undefined,
      };
    },
  };

  release(): void {
    this.holdPrefix = undefined;
    this.#receive(this.held.splice(0));
  }

  #receive(requests: readonly KvRequest[]): void {
    const responses: KvResponse[] = [];
    for (const request of requests) {
      this.received.push(request);
      const name = Buffer.from(request.key).toString();
      if (this.holdPrefix !== undefined && name.startsWith(this.holdPrefix)) this.held.push(request);
      else responses.push(this.#carryOut(request, name));
    }
    if (responses.length > 0) this.#answer(responses);
  }

  #carryOut(request: KvRequest, name: string): KvResponse {
    const response = newKvResponse(request.sequence, request.op);
    response.timestamp = timestamp(42);
    const value = this.rows.get(name);
    if (request.op === KvOp.put && request.value !== undefined) this.rows.set(name, request.value);
    if (request.op === KvOp.get) {
      response.found = value !== undefined;
      response.value = value;
    }
    if (request.op === KvOp.increment) response.number = '1';
    if (request.op === KvOp.compareAndSet && value !== undefined) {
      response.found = true;
      response.value = value;
    }
    if (request.op === KvOp.scan && this.endlessScan !== undefined) {
      const row = {
        key: Buffer.from(request.key),
        value: this.endlessScan,
        version: Buffer.alloc(12),
        kind: 0,
        expiresUnixMs: 0,
      };
      response.rows = packRows([row]);
      response.resumeKey = Buffer.concat([request.key, Buffer.alloc(1)]);
    } else if (request.op === KvOp.scan) {
      response.rows = packRows(
        [...this.rows].slice(0, request.limit).map(([key, row]) => ({
          key: Buffer.from(key),
          value: row,
          version: Buffer.from('twelve bytes'),
          kind: 0,
          expiresUnixMs: 0,
        })),
      );
    }
    return response;
  }
}

/** A port that was free a moment ago. */
export function freeAddress(): Promise<string> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => {
        resolve(`127.0.0.1:${port}`);
      });
    });
  });
}

/** Answers are held to be large, and are asked for one after the other, until some small ones have come. */
async function warmUp(router: RequestRouter, clock: Clock): Promise<void> {
  const { signal } = new AbortController();
  for (let reads = 0; reads < 30; reads += 1) {
    const request = newKvRequest();
    request.op = KvOp.get;
    request.key = Buffer.from('warm');
    const deadlineMs = clock.nowMs() + 60_000;
    await perform(router, request, { deadlineMs, signal, caller: 'rig', nowMs: () => clock.nowMs() });
  }
}

const LIMITS: DoorLimits = {
  grpcConnectionsMax: 1_000,
  grpcStreamsPerConnectionMax: 1_024,
  grpcHandshakeTimeoutMs: 60_000,
  grpcIdleTimeoutMs: 600_000,
  grpcKeepaliveIntervalMs: 600_000,
  grpcKeepaliveTimeoutMs: 60_000,
};

export interface RigOptions {
  readonly limits?: Partial<DoorLimits>;
  /** Of all callers together; default 50,000. */
  readonly openOpsMax?: number;
  readonly openBytesMax?: number;
  readonly answerBytesMax?: number;
  readonly metrics?: Metrics;
  /** The newest timestamp that there is; default 77. */
  readonly now?: number;
}

export type FakeMetadata = Partial<
  Pick<MetadataClient, 'status' | 'routes' | 'settings' | 'putSettings' | 'holds' | 'putHold' | 'deleteHold'>
>;

/** A real gRPC server on loopback, before a router whose only store is in this process. */
export class DoorRig {
  readonly address: string;
  readonly store = new MemoryStore();
  readonly router: RequestRouter;
  readonly doors: KvDoors;
  readonly context: DoorContext;
  readonly server: RouterServer;
  readonly client: KVClient;
  readonly transactions: FakeTransactions;
  readonly watches: FakeWatches;
  /** Of keys and values; may be changed. */
  readonly limits: { keyBytesMax: number; valueBytesMax: number };

  static async start(metadata: FakeMetadata = {}, options: RigOptions = {}): Promise<DoorRig> {
    const metrics = options.metrics ?? noopMetrics;
    const limits = { ...DEFAULT_KEY_VALUE_LIMITS };
    const address = await freeAddress();
    const store = new MemoryStore();
    const transactions = new FakeTransactions();
    const watches = new FakeWatches();
    const now = timestamp(options.now ?? 77);
    const clock = new NodeClock();
    const gateway: MetadataGateway = {
      routes: () =>
        Promise.resolve({
          routes: [{ descriptor: RANGE, leaderStoreId: storeId(1) }],
          stores: [{ storeId: storeId(1), address: 'memory', live: true }],
        }),
      timestamp: () => Promise.resolve(now),
      latestTimestamp: now,
    };
    const router = new RequestRouter({
      clock,
      rng: new NodeRng(),
      logger: noopLogger,
      metrics,
      connector: store.connector,
      gateway,
      bounds: {
        outstandingOpsMax: 50_000,
        outstandingBytesMax: 1e9,
        outstandingOpsPerStoreMax: 50_000,
        outstandingScansPerStoreMax: 64,
      },
      // What is held here on purpose, on a busy machine for long, is no store that hangs.
      breaker: { failuresMax: 0, pauseMs: 250, pauseMsMax: 4_000 },
    });
    await router.prefetch();
    await warmUp(router, clock);
    store.received.length = 0;
    const context = new DoorContext({
      router,
      clock,
      tracer: noopTracer,
      metrics,
      idSeed: 7,
      requestTimeoutMs: 60_000,
      callers: {
        streamedOpsMax: (options.openOpsMax ?? 50_000) / 4,
        openOpsMax: options.openOpsMax ?? 50_000,
        openBytesMax: options.openBytesMax ?? 1e9,
        scanBytesMax: 1e8,
        answerBytesMax: options.answerBytesMax ?? 5e8,
      },
      cutOff,
      freshTimestamp: () => Promise.resolve(now),
      limits: () => limits,
      transactions,
    });
    const doors = createKvService(context, () => ({ clusterId: 'rig', serverVersion: '1', ...limits }));
    const admin = new ClusterAdmin({
      metadata: metadata as MetadataClient,
      shards: {} as RpcPool,
      givenUpStores: () => router.givenUpStores,
      serverVersion: '1',
      limits: () => limits,
      sleep: () => Promise.resolve(),
      routesChanged: () => undefined,
    });
    const server = await startRouterServer({
      cluster: clusterHandlers(admin),
      kv: doors.handlers,
      txn: createTxnService(context),
      watch: createWatchService(context, watches),
      callerGone: (peer) => transactions.gone.push(peer),
      listen: address,
      limits: { ...LIMITS, ...options.limits },
      context: { clock, logger: noopLogger, metrics },
    });
    return new DoorRig({ address, store, transactions, watches, router, doors, context, server, limits });
  }

  private constructor(
    parts: Pick<
      DoorRig,
      'address' | 'transactions' | 'watches' | 'router' | 'doors' | 'context' | 'server' | 'limits'
    > & {
      store: MemoryStore;
    },
  ) {
    this.address = parts.address;
    this.store = parts.store;
    this.transactions = parts.transactions;
    this.watches = parts.watches;
    this.router = parts.router;
    this.doors = parts.doors;
    this.context = parts.context;
    this.server = parts.server;
    this.limits = parts.limits;
    this.client = new KVClient(this.address, credentials.createInsecure());
  }

  async close(): Promise<void> {
    this.client.close();
    this.router.close();
    await this.server.close();
  }
}

/** The client's end of a batch stream: collects what arrives. */
export class StreamEnd {
  readonly messages: BatchResponse[] = [];
  readonly stream: ClientDuplexStream<Buffer, BatchResponse>;
  status: { code: number; details: string } | undefined;
  #changed: () => void = () => undefined;

  constructor(rig: DoorRig) {
    this.stream = rig.client.makeBidiStreamRequest(
      KVService.batch.path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => BatchResponse.decode(bytes),
    );
    this.stream.on('data', (message: BatchResponse) => {
      this.messages.push(message);
      this.#changed();
    });
    this.stream.on('error', () => undefined);
    this.stream.on('status', (status) => {
      this.status = status;
      this.#changed();
    });
  }

  get results(): BatchResponse['results'] {
    return this.messages.flatMap(({ results }) => results);
  }

  send(...operations: Partial<BatchOperation>[]): void {
    const whole = operations.map((each) => ({
      call: 0,
      timeoutMs: 0,
      operation: undefined,
      traceparent: '',
      ...each,
    }));
    this.stream.write(KVService.batch.requestSerialize({ operations: whole }));
  }

  /** Waits until the condition holds after something arrived. The test's own time limit ends it otherwise. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

export const putOf = (key: string, value: Uint8Array = Buffer.from('v')): BatchOperation['operation'] => ({
  $case: 'put',
  value: { key: Buffer.from(key), value: Buffer.from(value), ttlMs: 0, ordering: 0, requestId: undefined },
});

export const deleteRangeOf = (value: DeleteRangeRequest): BatchOperation['operation'] => ({
  $case: 'deleteRange',
  value,
});

export const getOf = (key: string): BatchOperation['operation'] => ({
  $case: 'get',
  value: { key: Buffer.from(key), consistency: 0, timestamp: 0 },
});

/**
 * Lets I/O that is under way happen until the condition holds; the test's own time limit ends it otherwise.
 */
export async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
