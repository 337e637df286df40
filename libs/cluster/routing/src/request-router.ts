import {
  assert,
  CairnError,
  timestamp,
  timestampFromUnixMs,
  TIMESTAMP_LOGICAL_STEPS,
  unreachable,
  type StoreId,
  type Timestamp,
  isFinding,
} from '@cairn/base';
import type { Clock, Logger, Metrics, Rng, Timer } from '@cairn/ports';
import { newKvRequest, STAMP_FIELD, type KvError, type KvRequest, type KvResponse } from '@cairn/wire';

import { errorOf, problemOfDescriptor } from './answers.js';
import { BACKOFF } from './backoff.js';
import { DEFAULT_BREAKER_RULES, type BreakerRules } from './breaker.js';
import { compareKeys } from './keys.js';
import { FutureGate } from './future-gate.js';
import { LeaderSearch } from './leader-search.js';
import { LOCKED_TOO_LONG, LockedOperations, patientBreaker, type LockBreaker } from './lock-breaker.js';
import type { MetadataGateway, RouteInfo, RoutesAnswer, StoreAddress } from './metadata-gateway.js';
import {
  hasIdentity,
  isSpan,
  isStaleRead,
  isWrite,
  RoutedOperation,
  type OperationSink,
  type OperationTimes,
  type GivenUpStore,
} from './operation.js';
import { OpenOperations, pastDeadline, tooMany } from './open-operations.js';
import { NOBODY, probeOf } from './probe.js';
import { RangeCache, type RouteEntry } from './range-cache.js';
import { isReachable, reachOf, type Reach } from './reach.js';
import { anyReplica, leaderCandidate } from './replica-choice.js';
import { RouteLoader } from './route-loader.js';
import type { RouterBounds } from './router-bounds.js';
import { RoutingMetrics } from './routing-metrics.js';
import type { ConnectionEvents, StoreConnection } from './store-connection.js';
import type { StoreConnector } from './store-link.js';
import { Stores, type StoresOptions } from './stores.js';
import { WaitingRoom } from './waiting-room.js';
import { WriteIdentities } from './write-identities.js';

const NO_STORE = 0 as StoreId;
/** The router looks at deadlines this often. */
const SWEEP_INTERVAL_MS = 25;
/** How far a store's timestamps may be ahead of the wall clock here, or of the oracle's last word. */
const TIMESTAMP_LEAD_STEPS_MAX = 60_000 * TIMESTAMP_LOGICAL_STEPS;
/**
 * One error for all: when there is too much to do, the stack of each refusal would cost as much as its
 * request.
 */
const STORE_FULL = tooMany('the shard node');
const ROUTER_STOPS = new CairnError('UNAVAILABLE', 'the router is stopping', { retryAfterMs: 100 });
const ROUTER_FULL = tooMany('the router');
/** What a store is asked for its timestamps may take this long. */
const ASK_TIMEOUT_MS = 500;
/** Re-routings that may follow each other without a pause. */
const HOPS_MAX = 4;

export interface RequestRouterOptions extends Pick<StoresOptions, 'answers'> {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly connector: StoreConnector;
  readonly gateway: MetadataGateway;
  readonly bounds: RouterBounds;
  /** When stores are given up for a while. */
  readonly breaker?: BreakerRules;
  /** Makes the one that looks into locks, with the router to ask through. Default: they are waited for. */
  readonly lockBreaker?: (router: RequestRouter) => LockBreaker;
}

/**
 * Takes operations to the replicas that can carry them out, and repairs its own idea of the cluster from what
 * they answer. Every operation is answered once: with its result, with an error that sending it again would
 * repeat, or, for a write that was sent and whose fate cannot be learned in time, with OUTCOME_UNKNOWN. Holds
 * nothing that a restart would lose, and goes on serving the ranges it knows while the metadata service is
 * down.
 */
export class RequestRouter {
  readonly #options: RequestRouterOptions;
  readonly cache = new RangeCache();
  readonly #stores: Stores;
  readonly #search = new LeaderSearch();
  /**
   * Operations that took over a search and are to be routed; a list, so that long successions do not nest.
   */
  readonly #successors: RoutedOperation[] = [];
  #isHandingOver = false;
  readonly #loader: RouteLoader;
  readonly #future: FutureGate;
  readonly #metrics: RoutingMetrics;
  readonly #identities: WriteIdentities;
  readonly #open = new OpenOperations();
  readonly #waiting: WaitingRoom;
  readonly #locked: LockedOperations;
  #sweepTimer: Timer | undefined;
  #latest: number;
  #isClosed = false;
  /** Where `refreshUnreachable` goes on. */
  #refreshCursor = 0;

  constructor(options: RequestRouterOptions) {
    this.#options = options;
    this.#identities = new WriteIdentities(1 + options.rng.integer(2 ** 48 - 2));
    this.#latest = options.gateway.latestTimestamp;
    this.#metrics = new RoutingMetrics(options.metrics, () => ({
      open: this.#open.count,
      openBytes: this.#open.bytes,
      ranges: this.cache.size,
      searches: this.leaderSearches,
      stores: this.connectedStores,
      givenUp: this.#stores.givenUp.length,
    }));
    this.#waiting = new WaitingRoom(options, (operation) => {
      this.#routeOrWait(operation);
    });
    this.#stores = new Stores({
      ...options,
      pendingMax: options.bounds.outstandingOpsPerStoreMax,
      scansMax: options.bounds.outstandingScansPerStoreMax,
      breaker: options.breaker ?? DEFAULT_BREAKER_RULES,
      events: this.#connectionEvents(),
    });
    this.#loader = new RouteLoader({
      gateway: options.gateway,
      loaded: (answer, operations) => {
        this.#loaded(answer, operations);
      },
      failed: (operations, reason) => {
        options.logger.debug('routes not loaded', { reason, operations: operations.length });
        this.#metrics.refused('routes-unavailable');
        for (const operation of operations) this.#waitForRoute(operation);
      },
    });
    this.#future = new FutureGate({
      clock: options.clock,
      gateway: options.gateway,
      latest: () => this.latestTimestamp,
      issued: (fresh) => {
        if (fresh > this.#latest) this.#latest = fresh;
      },
      askStore: (operation) => {
        this.#askStore(operation);
      },
      passed: (operation) => {
        this.#routeOrWait(operation);
      },
      refused: (operation, error) => {
        this.#fail(operation, error);
      },
    });
    this.#locked = new LockedOperations(options.lockBreaker?.(this) ?? patientBreaker(options.clock), {
      routeOrWait: (operation) => {
        this.#routeOrWait(operation);
      },
      fail: (operation, error) => {
        this.#fail(operation, error);
      },
      wait: (operation) => {
        this.#waiting.enter(operation, BACKOFF.unavailable, 0);
      },
    });
    this.#scheduleSweep();
  }

  /** The largest oracle timestamp seen. */
  get latestTimestamp(): Timestamp {
    return timestamp(Math.max(this.#latest, this.#options.gateway.latestTimestamp));
  }

  get openOperations(): number {
    return this.#open.count;
  }

  /** Resolves when no operation is open; one that is begun right after is not waited for. */
  whenIdle(): Promise<void> {
    return this.#open.whenEmpty();
  }

  /** Stores that can be reached now. */
  get connectedStores(): number {
    return this.#stores.connected;
  }

  /** How many pages of scans wait for a place at their store. */
  get waitingScans(): number {
    return this.#stores.waitingScans;
  }

  /** The stores that the router has given up for a while, because they hang or fail. */
  get givenUpStores(): StoreId[] {
    return this.#stores.givenUp;
  }

  /** How many of the known ranges could be served now. */
  get reach(): Reach {
    return reachOf(this.cache.entries(), this.#stores.isUp);
  }

  /**
   * Asks anew about known ranges that cannot be reached: they may have moved since, and a router that nobody
   * uses would never learn it. To be called now and then; asks for a bounded number at a time.
   */
  refreshUnreachable(): void {
    if (this.#isClosed) return;
    this.#refreshCursor = this.#loader.refreshSome(
      this.cache.entries(),
      this.#refreshCursor,
      (entry) => !isReachable(entry.descriptor, this.#stores.isUp),
    );
  }

  /** The metadata service says where the stores are. */
  updateStores(stores: readonly StoreAddress[]): void {
    if (!this.#isClosed) this.#stores.update(stores);
  }

  #connectionEvents(): ConnectionEvents {
    return {
      onLost: (store, sent, unsent) => {
        this.#storeLost(store, sent, unsent);
      },
      onAnswer: (operation, response) => {
        this.#answered(operation, response);
      },
      onTimestamp: (seen) => {
        if (seen <= this.#latest || !this.#isPlausible(seen)) return;
        this.#latest = seen;
        this.#future.recheck();
      },
      onNonsense: () => {
        this.#metrics.refused('nonsense');
      },
      onGivenUp: (store, unsent) => {
        this.#metrics.gaveUp(store.storeId);
        for (const operation of unsent) this.#routeOrWait(operation);
      },
    };
  }

  /**
   * A store cannot know of timestamps far ahead of the wall clock and of what the oracle said: one that names
   * such is not believed, or stamps of clients that nobody issued would pass.
   */
  #isPlausible(seen: Timestamp): boolean {
    const wall = timestampFromUnixMs(this.#options.clock.unixMs());
    return seen <= Math.max(wall, this.#options.gateway.latestTimestamp) + TIMESTAMP_LEAD_STEPS_MAX;
  }

  /** Takes in what somebody says of where ranges are. */
  takeRoutes(routes: readonly RouteInfo[]): void {
    for (const { descriptor, leaderStoreId } of routes) {
      const problem = problemOfDescriptor(descriptor);
      if (problem === undefined) {
        this.cache.insert(descriptor, leaderStoreId);
        continue;
      }
      this.#metrics.refused('nonsense');
      this.#options.logger.debug('route not believed', { problem });
    }
  }

  /** How many ranges the router looks for a leader of. */
  get leaderSearches(): number {
    return this.#search.size;
  }

  #loaded(answer: RoutesAnswer, operations: readonly RoutedOperation[]): void {
    this.updateStores(answer.stores);
    this.takeRoutes(answer.routes);
    for (const operation of operations) {
      if (operation.state === 'done') continue;
      // The metadata service may not know the range either, while ranges change: it is not asked again at
      // once.
      if (this.#entryFor(operation) === undefined) this.#waitForRoute(operation);
      else this.#routeOrWait(operation);
    }
  }

  #waitForRoute(operation: RoutedOperation): void {
    operation.attempts += 1;
    this.#waiting.enter(operation, BACKOFF.routeMiss, 0);
  }

  /** Loads all ranges, page by page: called at start, so that the first requests need not wait. */
  prefetch(): Promise<void> {
    return this.#loader.prefetch();
  }

  /**
   * Takes on an operation. The sink is told exactly once, possibly before this returns (`state` is `done`
   * then), unless it is cancelled. The request belongs to the router from here on.
   */
  execute(request: KvRequest, sink: OperationSink, times: OperationTimes): RoutedOperation {
    const operation = new RoutedOperation(
      request,
      sink,
      times,
      times.startedAtMs ?? this.#options.clock.nowMs(),
    );
    this.#open.add(operation);
    const { outstandingOpsMax, outstandingBytesMax } = this.#options.bounds;
    if (this.#isClosed || this.#open.count > outstandingOpsMax || this.#open.bytes > outstandingBytesMax) {
      if (!this.#isClosed) this.#metrics.refused('router-full');
      this.#fail(operation, this.#isClosed ? ROUTER_STOPS : ROUTER_FULL);
      return operation;
    }
    if (hasIdentity(request.op)) this.#identities.identify(request, this.latestTimestamp);
    if (this.#future.isFromTheFuture(request)) this.#future.hold(operation);
    else this.#routeOrWait(operation);
    return operation;
  }

  /**
   * The stamp is too old to tell whether the sending is late. A write that has its identity from here was
   * sent by nobody else, and nothing of it was applied: it gets a newer one. Others are told to their
   * clients.
   */
  #restamp(operation: RoutedOperation, error: KvError): void {
    const { requestId } = operation.request;
    if (requestId === undefined || !this.#identities.isOwn(requestId) || operation.isUnclear) {
      this.#fail(operation, errorOf(error));
      return;
    }
    operation.request.requestId = { ...requestId, stamp: this.latestTimestamp };
    this.#waiting.enter(operation, BACKOFF.unavailable, 0);
  }

  /**
   * The caller gave up: nothing more is told, and what the operation held is freed, here and at the shard.
   */
  cancel(operation: RoutedOperation): void {
    if (operation.state === 'done') return;
    this.#stores.get(operation.storeId)?.cancel(operation);
    this.#end(operation);
  }

  /** Tells everybody who still waits, and lets go of the stores. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#sweepTimer?.cancel();
    // What a sink does when it is told may end others, so the list is read anew each time; nothing new gets
    // into it.
    while (this.#open.first !== undefined) this.#giveUp(this.#open.first, ROUTER_STOPS);
    this.#waiting.close();
    this.#future.close();
    this.#stores.close();
  }

  /** A read of the first key that the operation concerns: the answer brings the timestamps of its leader. */
  #askStore(operation: RoutedOperation): void {
    const request = newKvRequest();
    request.key = operation.spanStart;
    this.execute(request, NOBODY, { tag: 0, timeoutMs: ASK_TIMEOUT_MS });
  }

  #routeOrWait(operation: RoutedOperation): void {
    if (operation.state === 'done') return;
    const { request } = operation;
    const entry = this.#entryFor(operation);
    operation.entry = entry;
    // The range was cut or merged since it began to look for a leader: that search is somebody else's now.
    if (operation.search !== undefined && operation.search.rangeId !== entry?.rangeId)
      this.#leaveSearch(operation);
    if (entry === undefined) {
      operation.state = 'routing';
      this.#loader.load(operation);
      return;
    }
    if (entry.needsReload) this.#loader.refresh(entry);
    request.rangeId = entry.rangeId;
    request.epochVersion = entry.epochVersion;
    if (isSpan(request.op)) this.#cutToRange(operation, entry);
    this.#markRetry(operation);
    if (isStaleRead(request)) this.#sendToAny(operation, entry);
    else this.#sendToLeader(operation, entry);
  }

  /** A write that a store may have carried out says so each time it is sent from then on. */
  #markRetry(operation: RoutedOperation): void {
    if (!operation.isUnclear) return;
    const { request } = operation;
    if (request.requestId === undefined || request.requestId.isRetry) return;
    request.requestId = { ...request.requestId, isRetry: true };
  }

  #entryFor(operation: RoutedOperation): RouteEntry | undefined {
    return operation.request.reverse && isSpan(operation.request.op)
      ? this.cache.findBelow(operation.spanEnd)
      : this.cache.find(operation.spanStart);
  }

  #cutToRange(operation: RoutedOperation, entry: RouteEntry): void {
    const { request, spanStart } = operation;
    // The end stays as it is: the shard sees that the span goes on behind its range, and says where.
    request.key = compareKeys(spanStart, entry.startKey) < 0 ? entry.startKey : spanStart;
  }

  #sendToLeader(operation: RoutedOperation, entry: RouteEntry): void {
    const leader = entry.leaderStoreId === NO_STORE ? undefined : this.#stores.get(entry.leaderStoreId);
    if (leader?.isTaking === true) {
      leader.enqueue(operation);
      return;
    }
    if (!this.#search.enter(entry.rangeId, operation)) {
      // The one who looks was told that only a store leads that is given up: nobody is parked for that long.
      const givenUp = operation.search?.givenUp;
      if (givenUp !== undefined && givenUp.isSpared) this.#refuseGivenUp(operation, givenUp);
      return;
    }
    const { store, givenUp } = leaderCandidate(this.#stores, entry, operation.storeId);
    if (store !== undefined) {
      store.enqueue(operation);
      return;
    }
    operation.attempts += 1;
    if (givenUp !== undefined) this.#onlyGivenUp(operation, givenUp);
    this.#waiting.enter(operation, BACKOFF.leaderSearch, 0);
  }

  /**
   * Nobody but a store that is given up for a while leads the range. The one who looks goes on, so that the
   * next leader is found at once; the others are told to come back.
   */
  #onlyGivenUp(operation: RoutedOperation, store: StoreConnection): void {
    const { search } = operation;
    if (search === undefined || search.probe !== operation) return;
    search.givenUp = store;
    for (const parked of [...search.parked]) this.#refuseGivenUp(parked, store);
  }

  /** A write that may have happened waits on: a refusal would be an unknown outcome. */
  #refuseGivenUp(operation: RoutedOperation, store: GivenUpStore): void {
    if (operation.isUnclear) return;
    this.#metrics.refused('given-up');
    this.#fail(operation, store.refusal());
  }

  /** The operation no longer takes part in a search; if it led one, the next in the queue does. */
  #leaveSearch(operation: RoutedOperation): void {
    const successor = this.#search.leave(operation);
    if (successor === undefined) return;
    this.#successors.push(successor);
    if (this.#isHandingOver) return;
    this.#isHandingOver = true;
    for (let next = this.#successors.pop(); next !== undefined; next = this.#successors.pop())
      this.#routeOrWait(next);
    this.#isHandingOver = false;
  }

  #sendToAny(operation: RoutedOperation, entry: RouteEntry): void {
    const { store, givenUp } = anyReplica(this.#stores, entry);
    if (store !== undefined) store.enqueue(operation);
    else if (givenUp !== undefined) this.#refuseGivenUp(operation, givenUp);
    else this.#waiting.enter(operation, BACKOFF.unavailable, 0);
  }

  /** It has waited in the send queue for a store that has its fill. */
  #refuseInLine(operation: RoutedOperation): void {
    this.#metrics.refused('store-full');
    this.#fail(operation, STORE_FULL);
  }

  #answered(operation: RoutedOperation, response: KvResponse): void {
    if (operation.state === 'done') return;
    const { entry, request } = operation;
    const { error } = response;
    if (error !== undefined) {
      this.#refused(operation, error);
      return;
    }
    if (entry !== undefined && !isStaleRead(request)) this.#leaderFound(entry, operation.storeId);
    this.#end(operation);
    operation.sink.complete(operation, response);
  }

  /** Somebody carried out an operation as leader: those who waited for one go there. */
  #leaderFound(entry: RouteEntry, storeId: StoreId): void {
    if (entry.leaderStoreId !== storeId) {
      entry.leaderStoreId = storeId;
      const current = this.cache.find(entry.startKey);
      if (current?.rangeId === entry.rangeId) current.leaderStoreId = storeId;
    }
    // Not only when the leader is news: the metadata service may have named it while others looked for it.
    if (this.#search.size === 0) return;
    for (const parked of this.#search.release(entry.rangeId)) this.#routeOrWait(parked);
  }

  #refused(operation: RoutedOperation, error: KvError): void {
    this.#metrics.refused(error.code);
    if (error.code === 'LOCKED') {
      // The store answered as leader: whoever looks for one has found it.
      if (operation.entry !== undefined) this.#leaderFound(operation.entry, operation.storeId);
      if (operation.search !== undefined) this.#leaveSearch(operation);
      this.#locked.hold(operation, error.locks);
      return;
    }
    operation.attempts += 1;
    // A leader that was deposed with the write in its log: the next one may still commit it.
    if (error.isUnclear && isWrite(operation.request.op)) operation.isUnclear = true;
    switch (error.code) {
      case 'NOT_LEADER':
        this.#followHint(operation, error);
        return;
      case 'EPOCH_MISMATCH':
      case 'RANGE_NOT_FOUND':
        this.#repairRoute(operation, error);
        return;
      case 'RESOURCE_EXHAUSTED':
        operation.refusals += 1;
        if (operation.refusals === 1 || operation.isUnclear)
          this.#waiting.enter(operation, BACKOFF.overload, error.retryAfterMs);
        else this.#fail(operation, errorOf(error));
        return;
      case 'UNAVAILABLE':
        if (error.field === STAMP_FIELD) this.#restamp(operation, error);
        else this.#waiting.enter(operation, BACKOFF.unavailable, error.retryAfterMs);
        return;
      case 'DEADLINE_EXCEEDED':
        // The shard's clock ran ahead of ours by a little: the sweep decides.
        this.#waiting.enter(operation, BACKOFF.unavailable, 0);
        return;
      case 'INVALID_ARGUMENT':
      case 'FAILED_PRECONDITION':
      case 'CANCELLED':
      case 'OUTCOME_UNKNOWN':
      case 'DISK_FULL':
      case 'CORRUPTION':
      case 'CLUSTER_MISMATCH':
      case 'NAME_TAKEN':
      case 'FORMAT_TOO_NEW':
      case 'WRONG_KIND':
      case 'TRANSACTION_ABORTED':
      case 'TRANSACTION_NOT_FOUND':
      case 'TRANSACTION_TOO_LARGE':
      case 'WATCH_RESET':
      case 'LOCK_NOT_AVAILABLE':
      case 'INTERNAL':
        this.#fail(operation, errorOf(error));
        return;
      default:
        // The connection has looked at the code.
        unreachable(error.code);
    }
  }

  #followHint(operation: RoutedOperation, error: KvError): void {
    const { entry } = operation;
    const hint = error.leaderStoreId;
    assert(entry !== undefined, 'an operation that was sent had a route');
    if (entry.leaderStoreId === operation.storeId) entry.leaderStoreId = NO_STORE;
    const hinted = hint === NO_STORE || hint === operation.storeId ? undefined : this.#stores.get(hint);
    if (hinted?.isUp === true && hinted.isSpared) {
      this.#onlyGivenUp(operation, hinted);
    } else {
      if (operation.search !== undefined) operation.search.givenUp = undefined;
      if (hinted?.isUp === true && operation.attempts % HOPS_MAX !== 0) {
        this.#markRetry(operation);
        hinted.enqueue(operation);
        return;
      }
    }
    this.#waiting.enter(operation, BACKOFF.leaderSearch, 0);
  }

  /**
   * The range has changed: what the store says about it goes into the cache; if it knows nothing new,
   * metadata is asked.
   */
  #repairRoute(operation: RoutedOperation, error: KvError): void {
    const { entry } = operation;
    let hasNews = false;
    for (const descriptor of error.descriptors) {
      if (this.cache.insert(descriptor, NO_STORE) === 'inserted') hasNews = true;
    }
    if (entry !== undefined && error.code === 'RANGE_NOT_FOUND') {
      if (entry.leaderStoreId === operation.storeId) entry.leaderStoreId = NO_STORE;
      entry.needsReload = true;
    }
    if (hasNews && operation.attempts % HOPS_MAX !== 0) {
      this.#routeOrWait(operation);
      return;
    }
    if (entry !== undefined) entry.needsReload = true;
    this.#waiting.enter(operation, BACKOFF.unavailable, 0);
  }

  #storeLost(
    store: StoreConnection,
    sent: readonly RoutedOperation[],
    unsent: readonly RoutedOperation[],
  ): void {
    if (this.#isClosed) return;
    for (const entry of this.cache.entries()) {
      if (entry.leaderStoreId === store.storeId) entry.leaderStoreId = NO_STORE;
    }
    for (const operation of sent) {
      if (isWrite(operation.request.op)) operation.isUnclear = true;
      operation.attempts += 1;
      // Stores that come and go, perhaps because of this very operation, are not fed with it without a pause.
      if (operation.attempts % HOPS_MAX === 0) this.#waiting.enter(operation, BACKOFF.unavailable, 0);
      else this.#routeOrWait(operation);
    }
    for (const operation of unsent) this.#routeOrWait(operation);
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#options.clock.setTimer(SWEEP_INTERVAL_MS, () => {
      if (this.#isClosed) return;
      this.#sweep();
      this.#scheduleSweep();
    });
  }

  /** Ends what is past its deadline, and moves what a hung store does not answer. */
  #sweep(): void {
    const nowMs = this.#options.clock.nowMs();
    // What is done about one may end others, so those that are due are gathered before.
    const due: RoutedOperation[] = [];
    for (let each = this.#open.first; each !== undefined; each = each.next)
      if (nowMs >= each.deadlineMs || nowMs >= each.wakeAtMs) due.push(each);
    for (const operation of due) {
      if (operation.state === 'done') continue;
      if (nowMs >= operation.deadlineMs) {
        const isLocked = operation.state === 'locked';
        this.#giveUp(operation, isLocked ? LOCKED_TOO_LONG : pastDeadline(this.cache.size));
      } else if (nowMs >= operation.wakeAtMs) {
        if (operation.state === 'sent') this.#unstick(operation);
        // A write that may have happened stays in the queue: a refusal would be an unknown outcome.
        else if (operation.state === 'queued' && !operation.isUnclear) this.#refuseInLine(operation);
      }
    }
    if (!this.#isClosed) for (const store of this.#stores.unproven) this.#probe(store);
  }

  /**
   * Asks a store that was given up for a key of a range that it is not asked for otherwise; any answer, also
   * that it does not have the range, takes it back. One at a time: the breaker allows the next after a while.
   */
  #probe(store: StoreConnection): void {
    const { value: entry } = this.cache.entries()[Symbol.iterator]().next();
    if (entry === undefined) return;
    const operation = probeOf(entry, this.#options.clock.nowMs());
    this.#open.add(operation);
    store.enqueue(operation);
  }

  /** Ends an operation wherever it is; a write that is at a store may have happened. */
  #giveUp(operation: RoutedOperation, error: CairnError): void {
    if (operation.state === 'sent' && isWrite(operation.request.op)) operation.isUnclear = true;
    this.#stores.get(operation.storeId)?.cancel(operation);
    this.#fail(operation, error);
  }

  #unstick(operation: RoutedOperation): void {
    const { entry, request } = operation;
    assert(entry !== undefined, 'an operation that was sent had a route');
    const store = this.#stores.get(operation.storeId);
    if (store?.waitsOn(operation) === true) return;
    store?.abandon(operation);
    if (isWrite(request.op)) operation.isUnclear = true;
    operation.attempts += 1;
    operation.slowCount += 1;
    if (entry.leaderStoreId === operation.storeId) entry.leaderStoreId = NO_STORE;
    this.#metrics.refused('slow');
    this.#routeOrWait(operation);
  }

  /** Tells the caller. A write that may have happened is never said to have failed. */
  #fail(operation: RoutedOperation, error: CairnError): void {
    if (operation.state === 'done') return;
    // What was found is true of all sendings; that the last one was refused says nothing of those before.
    const isDefinite = isFinding(error.code);
    const said =
      operation.isUnclear && !isDefinite && error.code !== 'OUTCOME_UNKNOWN'
        ? new CairnError(
            'OUTCOME_UNKNOWN',
            `the write was sent and its outcome is not known: ${error.message}`,
          )
        : error;
    this.#end(operation);
    operation.sink.fail(operation, said);
  }

  #end(operation: RoutedOperation): void {
    operation.state = 'done';
    this.#open.remove(operation);
    if (operation.search !== undefined) this.#leaveSearch(operation);
  }
}
