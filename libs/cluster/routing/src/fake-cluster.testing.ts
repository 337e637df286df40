import {
  CairnError,
  rangeId,
  replicaId,
  storeId,
  timestamp,
  type RangeDescriptor,
  type ReplicaRole,
  type StoreId,
  type Timestamp,
} from '@cairn/base';
import { noopLogger, noopMetrics, type Clock } from '@cairn/ports';
import { SimRng, SimScheduler } from '@cairn/runtime-sim';
import {
  KvOp,
  newKvRequest,
  newKvResponse,
  packRows,
  type KvError,
  type KvRequest,
  type KvResponse,
} from '@cairn/wire';

import { AnswersUnderWay } from './answers-under-way.js';
import { compareKeys, isBelowEnd } from './keys.js';
import type { MetadataGateway, RoutesAnswer, RoutesQuery } from './metadata-gateway.js';
import { isWrite, type OperationSink, type RoutedOperation } from './operation.js';
import { RequestRouter, type RequestRouterOptions } from './request-router.js';
import type { RouterBounds } from './router-bounds.js';
import type { StoreConnector, StoreLink, StoreLinkHandlers } from './store-link.js';

export const key = (text: string): Buffer => Buffer.from(text);

export function descriptorOf(
  id: number,
  span: readonly [string, string],
  more: DescriptorParts = {},
): RangeDescriptor {
  const { version = 1, confVersion = 1, stores = [1, 2, 3], roles = [] } = more;
  return {
    rangeId: rangeId(id),
    startKey: key(span[0]),
    endKey: key(span[1]),
    epoch: { version, confVersion },
    replicas: stores.map((store, at) => ({
      replicaId: replicaId(id * 100 + at),
      storeId: storeId(store),
      role: roles[at] ?? 'voter',
    })),
  };
}

interface DescriptorParts {
  readonly version?: number;
  readonly confVersion?: number;
  readonly stores?: readonly number[];
  readonly roles?: readonly ReplicaRole[];
}

/** What a store answers instead of doing its work; `applied`: it did the work all the same. */
export type Interception = { readonly error: KvError; readonly applied?: boolean } | 'silent' | undefined;

export const errorOf = (code: KvError['code'], more: Partial<KvError> = {}): KvError => ({
  code,
  message: `said ${code}`,
  retryAfterMs: 0,
  leaderStoreId: storeId(0),
  descriptors: [],
  field: '',
  kind: 0,
  isUnclear: false,
  locks: [],
  ...more,
});

class FakeLink implements StoreLink {
  readonly queuedBytes = 0;
  readonly handlers: StoreLinkHandlers;
  readonly #store: FakeStore;
  isOpen = true;

  get largeBytes(): number {
    return this.#store.largeBytes;
  }

  constructor(store: FakeStore, handlers: StoreLinkHandlers) {
    this.#store = store;
    this.handlers = handlers;
  }

  send(requests: readonly KvRequest[]): void {
    // The encoder of a real link: what the router changes later is not seen by the store.
    this.#store.arrive(
      this,
      requests.map((request) => ({ ...request })),
    );
  }

  cancel(sequences: readonly number[]): void {
    this.#store.cancelled.push(...sequences);
  }

  close(): void {
    this.isOpen = false;
    this.#store.links.delete(this);
  }
}

/** One shard node: receives frames after a delay, answers after another, dies, hangs and comes back. */
export class FakeStore {
  readonly storeId: StoreId;
  readonly links = new Set<FakeLink>();
  readonly received: KvRequest[] = [];
  readonly cancelled: number[] = [];
  readonly #cluster: FakeCluster;
  readonly #held: { link: FakeLink; request: KvRequest }[] = [];
  isUp = true;
  #isHung = false;
  /** How large its answers are and how fast they come, one after the other; undefined = at once. */
  line: { readonly answerBytes: number; readonly bytesPerMs: number } | undefined;
  #lineBytes = 0;
  #lineBusyUntilMs = 0;

  constructor(cluster: FakeCluster, id: number) {
    this.#cluster = cluster;
    this.storeId = storeId(id);
  }

  connect(handlers: StoreLinkHandlers): StoreLink {
    const link = new FakeLink(this, handlers);
    this.#cluster.clock.setTimer(this.#cluster.latencyMs, () => {
      if (!link.isOpen) return;
      if (!this.isUp) {
        link.isOpen = false;
        handlers.onDown(new Error('connection refused'));
        return;
      }
      this.links.add(link);
      handlers.onUp();
    });
    return link;
  }

  kill(): void {
    this.isUp = false;
    this.#held.length = 0;
    const links = [...this.links];
    this.links.clear();
    for (const link of links) {
      link.isOpen = false;
      link.handlers.onDown(new Error('connection reset'));
    }
  }

  restart(): void {
    this.isUp = true;
  }

  hang(): void {
    this.#isHung = true;
  }

  resume(): void {
    this.#isHung = false;
    for (const { link, request } of this.#held.splice(0)) this.#serve(link, request);
  }

  arrive(link: FakeLink, requests: readonly KvRequest[]): void {
    this.#cluster.clock.setTimer(this.#cluster.latencyMs, () => {
      for (const request of requests) {
        if (!this.isUp || !this.links.has(link)) return;
        this.received.push(request);
        if (this.#isHung) this.#held.push({ link, request });
        else this.#serve(link, request);
      }
    });
  }

  /** What has come of answers that come one after the other. */
  get largeBytes(): number {
    const leftMs = Math.max(0, this.#lineBusyUntilMs - this.#cluster.clock.nowMs());
    return this.#lineBytes - leftMs * (this.line?.bytesPerMs ?? 0);
  }

  #travelMs(): number {
    const { clock, latencyMs } = this.#cluster;
    if (this.line === undefined) return latencyMs;
    const { answerBytes, bytesPerMs } = this.line;
    const nowMs = clock.nowMs();
    this.#lineBytes += answerBytes;
    this.#lineBusyUntilMs = Math.max(nowMs, this.#lineBusyUntilMs) + answerBytes / bytesPerMs;
    return this.#lineBusyUntilMs - nowMs + latencyMs;
  }

  #serve(link: FakeLink, request: KvRequest): void {
    const served = this.#cluster.serve(this.storeId, request);
    if (served === undefined) return;
    const response = this.#cluster.garble(this.storeId, served);
    this.#cluster.clock.setTimer(this.#travelMs(), () => {
      if (link.isOpen) link.handlers.onResponses([response], this.#cluster.issued);
    });
  }
}

export interface FakeRange {
  descriptor: RangeDescriptor;
  /** 0 = nobody. */
  leader: StoreId;
}

/** Ranges, rows and stores in one object, on virtual time: all that a router sees of a cluster. */
export class FakeCluster {
  readonly scheduler = new SimScheduler();
  readonly clock: Clock = this.scheduler.clockFor('router');
  readonly stores = new Map<StoreId, FakeStore>();
  readonly rows = new Map<string, string>();
  /** Times each write was carried out, by request id. */
  readonly applied = new Map<string, number>();
  readonly #outcomes = new Map<string, KvResponse>();
  ranges: FakeRange[];
  /** What the metadata service believes; undefined = the truth. */
  believed: FakeRange[] | undefined;
  latencyMs = 1;
  isMetadataDown = false;
  routesAsked = 0;
  timestampsAsked = 0;
  issued: Timestamp = timestamp(1_000);
  /** What becomes of an answer on its way. */
  garble: (store: StoreId, response: KvResponse) => KvResponse = (_store, response) => response;
  intercept: (store: StoreId, request: KvRequest) => Interception = () => undefined;

  constructor(ranges: readonly RangeDescriptor[], leader = 1) {
    this.ranges = ranges.map((descriptor) => ({ descriptor, leader: storeId(leader) }));
    const ids = new Set(ranges.flatMap(({ replicas }) => replicas.map((replica) => replica.storeId)));
    for (const id of ids) this.stores.set(id, new FakeStore(this, id));
  }

  store(id: number): FakeStore {
    return this.stores.get(storeId(id)) as FakeStore;
  }

  range(id: number): FakeRange {
    return this.ranges.find(({ descriptor }) => descriptor.rangeId === rangeId(id)) as FakeRange;
  }

  lead(id: number, leader: number): void {
    this.range(id).leader = storeId(leader);
  }

  /** Cuts a range; the right half gets the new id and the same leader. */
  split(id: number, at: string, newId: number): void {
    const range = this.range(id);
    const { descriptor } = range;
    const epoch = { ...descriptor.epoch, version: descriptor.epoch.version + 1 };
    range.descriptor = { ...descriptor, endKey: key(at), epoch };
    const right = { ...descriptor, rangeId: rangeId(newId), startKey: key(at), epoch };
    this.ranges.push({ descriptor: right, leader: range.leader });
    this.ranges.sort((a, b) => compareKeys(a.descriptor.startKey, b.descriptor.startKey));
  }

  /** Keeps the metadata service at what it knows now. */
  freezeMetadata(): void {
    this.believed = this.ranges.map((range) => ({ ...range }));
  }

  readonly connector: StoreConnector = {
    connect: (id, _address, handlers) => (this.stores.get(id) as FakeStore).connect(handlers),
  };

  readonly gateway: MetadataGateway = this.#makeGateway();

  #makeGateway(): MetadataGateway {
    const later = <Value>(make: () => Value): Promise<Value> =>
      new Promise((resolve, reject) => {
        this.clock.setTimer(this.latencyMs, () => {
          if (this.isMetadataDown) reject(new CairnError('UNAVAILABLE', 'no metadata member answers'));
          else resolve(make());
        });
      });
    return {
      routes: (query) => {
        this.routesAsked += 1;
        return later(() => this.#routes(query));
      },
      timestamp: () => {
        this.timestampsAsked += 1;
        return later(() => this.issued);
      },
      latestTimestamp: timestamp(0),
    };
  }

  #routes(query: RoutesQuery): RoutesAnswer {
    const known = this.believed ?? this.ranges;
    const routes = known.filter(({ descriptor }) => {
      const isAsked = query.keys.some((asked) => holds(descriptor, asked));
      return isAsked || (query.fromKey !== undefined && isBelowEnd(query.fromKey, descriptor.endKey));
    });
    return {
      routes: routes.map(({ descriptor, leader }) => ({ descriptor, leaderStoreId: leader })),
      stores: [...this.stores.keys()].map((id) => ({ storeId: id, address: `store-${id}`, live: true })),
    };
  }

  /** What the store answers; undefined = nothing. */
  serve(id: StoreId, request: KvRequest): KvResponse | undefined {
    const interception = this.intercept(id, request);
    if (interception === 'silent') return undefined;
    const refusal = interception?.error ?? this.#refusal(id, request);
    if (refusal === undefined) return this.#carryOut(request);
    const isApplied = interception !== undefined && interception.applied === true;
    if (isApplied && this.#refusal(id, request) === undefined) this.#carryOut(request);
    const error = isApplied ? { ...refusal, isUnclear: true } : refusal;
    return { ...newKvResponse(request.sequence, request.op), error };
  }

  #refusal(id: StoreId, request: KvRequest): KvError | undefined {
    const range = this.ranges.find(({ descriptor }) => descriptor.rangeId === request.rangeId);
    if (range?.descriptor.replicas.some((replica) => replica.storeId === id) !== true) {
      const covering = this.ranges.find(
        ({ descriptor }) =>
          holds(descriptor, request.key) && descriptor.replicas.some(({ storeId: at }) => at === id),
      );
      return errorOf('RANGE_NOT_FOUND', { descriptors: covering === undefined ? [] : [covering.descriptor] });
    }
    const { descriptor, leader } = range;
    if (descriptor.epoch.version !== request.epochVersion) {
      return errorOf('EPOCH_MISMATCH', { descriptors: [descriptor] });
    }
    const isStale = request.consistency === 1 && !isWrite(request.op);
    if (leader !== id && !isStale) return errorOf('NOT_LEADER', { leaderStoreId: leader });
    return undefined;
  }

  /**
   * As a replicated range does: a write that says `isRetry` is answered what it was answered the first time.
   */
  #carryOut(request: KvRequest): KvResponse {
    const response = newKvResponse(request.sequence, request.op);
    if (!isWrite(request.op)) {
      if (request.op === KvOp.scan) this.#scan(request, response);
      else this.#get(request, response);
      return response;
    }
    const id = `${String(request.requestId?.client)}/${String(request.requestId?.sequence)}`;
    const outcome = this.#outcomes.get(id);
    if (request.requestId?.isRetry === true && outcome !== undefined) {
      return { ...outcome, sequence: request.sequence };
    }
    this.applied.set(id, (this.applied.get(id) ?? 0) + 1);
    if (request.op === KvOp.deleteRange) this.#deleteRange(request, response);
    else this.rows.set(textOf(request.key), textOf(request.value ?? new Uint8Array(0)));
    this.#outcomes.set(id, response);
    return response;
  }

  #get(request: KvRequest, response: KvResponse): void {
    const value = this.rows.get(textOf(request.key));
    response.found = value !== undefined;
    if (value !== undefined) response.value = key(value);
  }

  #inSpan(request: KvRequest): { keys: string[]; range: RangeDescriptor } {
    const range = this.ranges.find(({ descriptor }) => descriptor.rangeId === request.rangeId)
      ?.descriptor as RangeDescriptor;
    const keys = [...this.rows.keys()]
      .filter((row) => holds(range, key(row)) && compareKeys(key(row), request.key) >= 0)
      .filter((row) => isBelowEnd(key(row), request.endKey))
      .sort((a, b) => compareKeys(key(a), key(b)));
    return { keys, range };
  }

  #scan(request: KvRequest, response: KvResponse): void {
    const { keys, range } = this.#inSpan(request);
    if (request.reverse) keys.reverse();
    const page = keys.slice(0, request.limit);
    response.rows = packRows(
      page.map((row) => ({
        key: key(row),
        value: key(this.rows.get(row) as string),
        version: key('twelve bytes'),
        kind: 0,
        expiresUnixMs: 0,
      })),
    );
    const last = page.at(-1);
    if (page.length < keys.length && last !== undefined) {
      response.resumeKey = request.reverse ? key(last) : key(`${last}\0`);
    } else {
      response.resumeKey = rest(request, range);
    }
  }

  #deleteRange(request: KvRequest, response: KvResponse): void {
    const { keys, range } = this.#inSpan(request);
    const page = keys.slice(0, request.limit);
    for (const row of page) this.rows.delete(row);
    response.count = page.length;
    response.resumeKey = page.length < keys.length ? key(keys[page.length] as string) : rest(request, range);
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function holds(descriptor: RangeDescriptor, at: Uint8Array): boolean {
  return compareKeys(descriptor.startKey, at) <= 0 && isBelowEnd(at, descriptor.endKey);
}

function rest(request: KvRequest, { startKey, endKey }: RangeDescriptor): Uint8Array | undefined {
  if (request.reverse) return startKey.length === 0 ? undefined : startKey;
  if (endKey.length === 0) return undefined;
  return request.endKey.length === 0 || compareKeys(request.endKey, endKey) > 0 ? endKey : undefined;
}

/** What a sink was told. */
export interface Told {
  readonly operation: RoutedOperation;
  readonly response: KvResponse | undefined;
  readonly error: CairnError | undefined;
  readonly atMs: number;
}

/** A router before a fake cluster. */
export class RouterRig implements OperationSink {
  readonly cluster: FakeCluster;
  readonly router: RequestRouter;
  readonly told: Told[] = [];

  constructor(
    cluster: FakeCluster,
    bounds: Partial<RouterBounds> = {},
    seed = 'rig',
    more: Pick<RequestRouterOptions, 'answers' | 'lockBreaker'> = { answers: new AnswersUnderWay() },
  ) {
    this.cluster = cluster;
    this.router = new RequestRouter({
      clock: cluster.clock,
      rng: new SimRng(seed),
      logger: noopLogger,
      metrics: noopMetrics,
      connector: cluster.connector,
      gateway: cluster.gateway,
      ...more,
      bounds: {
        outstandingOpsMax: 10_000,
        outstandingBytesMax: 100_000_000,
        outstandingOpsPerStoreMax: 5_000,
        outstandingScansPerStoreMax: 40,
        ...bounds,
      },
    });
  }

  /** Learns all ranges and connects. */
  async ready(): Promise<void> {
    await this.cluster.scheduler.settle(this.router.prefetch());
    await this.run(this.cluster.latencyMs + 1);
  }

  run(durationMs: number): Promise<void> {
    return this.cluster.scheduler.runFor(durationMs);
  }

  complete(operation: RoutedOperation, response: KvResponse): void {
    this.told.push({ operation, response, error: undefined, atMs: this.cluster.scheduler.nowMs });
  }

  fail(operation: RoutedOperation, error: CairnError): void {
    this.told.push({ operation, response: undefined, error, atMs: this.cluster.scheduler.nowMs });
  }

  put(
    at: string,
    timeoutMs = 5_000,
    change: (request: KvRequest) => void = () => undefined,
  ): RoutedOperation {
    const request = newKvRequest();
    request.op = KvOp.put;
    request.key = key(at);
    request.value = key(`value of ${at}`);
    change(request);
    return this.router.execute(request, this, { tag: 0, timeoutMs });
  }

  get(
    at: string,
    timeoutMs = 5_000,
    change: (request: KvRequest) => void = () => undefined,
  ): RoutedOperation {
    const request = newKvRequest();
    request.key = key(at);
    change(request);
    return this.router.execute(request, this, { tag: 0, timeoutMs });
  }

  /** What this operation was told; throws unless it was exactly once. */
  outcomeOf(operation: RoutedOperation): Told {
    const told = this.told.filter((each) => each.operation === operation);
    if (told.length !== 1) throw new Error(`told ${told.length} times`);
    return told[0] as Told;
  }

  /** Error codes in the order of telling, OK for results. */
  codes(): string[] {
    return this.told.map(({ error }) => error?.code ?? 'OK');
  }
}
