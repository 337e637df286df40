import { assert, CairnError, messageOf, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import { sleep, type Clock, type Counter, type Logger, type Metrics, type Rng } from '@cairn/ports';
import type { RpcClient, RpcMethod } from '@cairn/wire';

import type { DeadlockVictim, LockWait } from './deadlock-detector.js';
import { TimestampBatcher } from './timestamp-batcher.js';
import {
  MetadataRpc,
  type DeleteHoldRequest,
  type DeleteHoldResponse,
  type GetRoutesRequest,
  type GetRoutesResponse,
  type GetStatusResponse,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type HoldMessage,
  type JoinRequest,
  type JoinResponse,
  type LeaveRequest,
  type ListHoldsResponse,
  type PutHoldRequest,
  type SettingChange,
  type SettingValue,
} from './wire-binding.js';

/** An open or opening connection to one member. */
export interface MetadataConnection {
  readonly rpc: RpcClient;
  readonly isClosed: boolean;
  close(): void;
}

export interface MetadataClientOptions {
  /** Where the members are; at least one. Leaders at other addresses are learned from refusals. */
  readonly addresses: readonly string[];
  /** Begins a connection; its failure shows in the calls. */
  connect(address: string): MetadataConnection;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** One try at one member. Default 1,000. */
  readonly tryTimeoutMs?: number;
  /** One call, all tries together, unless the call says otherwise. Default 10,000. */
  readonly callTimeoutMs?: number;
}

export interface MetadataCallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const BACKOFF_MS_MIN = 10;
const BACKOFF_MS_MAX = 500;

/** Hints to a leader that are followed without a pause; then members are naming each other in circles. */
const HOPS_MAX = 3;

/** Refusals of a member that says it will lead in a moment; then others are asked. */
const PATIENCE_MAX = 5;

interface Link {
  readonly address: string;
  readonly connection: MetadataConnection;
  refusals: number;
}

/** What to do after a failed try: the same call again at once, or after a pause of at least `pauseMs`. */
type Verdict = { readonly type: 'hop' } | { readonly type: 'pause'; readonly pauseMs: number };

/**
 * Speaks to whichever member leads. Every request of the service may be sent again without harm (ids and
 * timestamps are merely skipped), so a call goes on over failovers until its time is up. One connection at a
 * time, shared by all calls.
 */
export class MetadataClient {
  readonly #options: MetadataClientOptions;
  readonly #tries: Counter;
  readonly #batcher: TimestampBatcher;
  readonly #closing = new AbortController();
  #link: Link | undefined;
  #target: string;
  #turn: number;
  #latest = timestamp(0);

  constructor(options: MetadataClientOptions) {
    assert(options.addresses.length > 0, 'a metadata client needs the address of a member');
    this.#options = options;
    // Nodes begin at different members.
    this.#turn = options.rng.integer(options.addresses.length);
    this.#target = options.addresses[this.#turn] as string;
    this.#tries = options.metrics.counter(
      'cairn_metadata_client_tries_total',
      'Tries of calls to the metadata service, by outcome (OK or an error code)',
      ['outcome'],
    );
    this.#batcher = new TimestampBatcher({
      clock: options.clock,
      request: async (count) => (await this.#call(MetadataRpc.getTimestamps, { count }, {})).first,
    });
  }

  /** The largest timestamp this process has seen from the oracle. 0 = none. */
  get latest(): Timestamp {
    return this.#latest;
  }

  /** Takes in a timestamp of the oracle that came in another way. */
  observe(seen: Timestamp): void {
    if (seen > this.#latest) this.#latest = seen;
  }

  async join(request: JoinRequest, options: MetadataCallOptions = {}): Promise<JoinResponse> {
    const response = await this.#call(MetadataRpc.join, request, options);
    this.observe(timestamp(response.timestamp));
    return response;
  }

  async heartbeat(request: HeartbeatRequest, options: MetadataCallOptions = {}): Promise<HeartbeatResponse> {
    const response = await this.#call(MetadataRpc.heartbeat, request, options);
    this.observe(timestamp(response.timestamp));
    return response;
  }

  /** Tells the service that a router stops, so that nobody misses it. */
  async leave(request: LeaveRequest, options: MetadataCallOptions = {}): Promise<void> {
    await this.#call(MetadataRpc.leave, request, options);
  }

  /** The first of `count` consecutive ids, never given to anybody else. */
  async allocateIds(count: number, options: MetadataCallOptions = {}): Promise<number> {
    return (await this.#call(MetadataRpc.allocateIds, { count }, options)).first;
  }

  /** A timestamp above every one that was handed out, anywhere, before this call. */
  timestamp(): Promise<Timestamp> {
    return this.timestamps(1);
  }

  /**
   * The first of `count` consecutive such timestamps. Shares requests with everybody who asks in the same
   * turn.
   */
  async timestamps(count: number): Promise<Timestamp> {
    const first = await this.#batcher.take(count);
    this.observe(timestamp(first + count - 1));
    return first;
  }

  routes(request: GetRoutesRequest, options: MetadataCallOptions = {}): Promise<GetRoutesResponse> {
    return this.#call(MetadataRpc.getRoutes, request, options);
  }

  status(options: MetadataCallOptions = {}): Promise<GetStatusResponse> {
    return this.#call(MetadataRpc.getStatus, {}, options);
  }

  async settings(options: MetadataCallOptions = {}): Promise<SettingValue[]> {
    return (await this.#call(MetadataRpc.getSettings, {}, options)).settings;
  }

  /** Changes all of these settings, or none. An empty value puts the default back. */
  async putSettings(changes: readonly SettingChange[], options: MetadataCallOptions = {}): Promise<void> {
    const [first, ...more] = changes;
    if (first === undefined) return;
    await this.#call(MetadataRpc.putSetting, { ...first, more }, options);
  }

  /** What keeps old versions from being collected. */
  holds(options: MetadataCallOptions = {}): Promise<ListHoldsResponse> {
    return this.#call(MetadataRpc.listHolds, {}, options);
  }

  /** Makes a hold, or renews the one of that name; answers it. */
  async putHold(request: PutHoldRequest, options: MetadataCallOptions = {}): Promise<HoldMessage> {
    const { hold } = await this.#call(MetadataRpc.putHold, request, options);
    assert(hold !== undefined, 'a hold that was made is answered');
    return hold;
  }

  /** Ends a hold at once. A call that was sent again after its answer was lost says that there was none. */
  deleteHold(request: DeleteHoldRequest, options: MetadataCallOptions = {}): Promise<DeleteHoldResponse> {
    return this.#call(MetadataRpc.deleteHold, request, options);
  }

  /**
   * Tells all that transactions of this router wait for, in the place of what it told last. Answers those of
   * its waiters that must give up, because they wait in a circle.
   */
  async reportWaits(
    waits: readonly LockWait[],
    options: MetadataCallOptions = {},
  ): Promise<readonly DeadlockVictim[]> {
    const request = { waits: waits.map(({ waiter, holders }) => ({ waiter, holders: [...holders] })) };
    const { victims } = await this.#call(MetadataRpc.reportWaits, request, options);
    return victims.map(({ owner, cycle }) => ({
      owner: timestamp(owner),
      cycle: cycle.map((each) => timestamp(each)),
    }));
  }

  /** Ends the client; calls under way reject with CANCELLED. */
  close(): void {
    this.#closing.abort(new CairnError('CANCELLED', 'the metadata client is closed'));
    this.#link?.connection.close();
    this.#link = undefined;
  }

  /**
   * Rejects with what a leader answered for good, UNAVAILABLE when time is up, or the reason of the signal.
   */
  async #call<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Request,
    { timeoutMs = this.#options.callTimeoutMs ?? 10_000, signal }: MetadataCallOptions,
  ): Promise<Response> {
    const { clock } = this.#options;
    const deadlineMs = clock.nowMs() + timeoutMs;
    const stop =
      signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    let backoffMs = BACKOFF_MS_MIN;
    let hops = 0;
    for (;;) {
      stop.throwIfAborted();
      const leftMs = deadlineMs - clock.nowMs();
      const link = this.#open();
      try {
        const tryTimeoutMs = Math.max(1, Math.min(leftMs, this.#options.tryTimeoutMs ?? 1_000));
        const response = await link.connection.rpc.call(method, request, {
          timeoutMs: tryTimeoutMs,
          signal: stop,
        });
        this.#tries.add(1, { outcome: 'OK' });
        link.refusals = 0;
        return response;
      } catch (error) {
        rethrowInvariant(error);
        stop.throwIfAborted();
        const verdict = this.#judge(link, error);
        hops = verdict.type === 'hop' ? hops + 1 : 0;
        if (verdict.type === 'hop' && hops <= HOPS_MAX) continue;
        const floorMs = verdict.type === 'pause' ? verdict.pauseMs : 0;
        const delayMs = Math.max(floorMs, backoffMs * (0.5 + this.#options.rng.next() / 2));
        backoffMs = Math.min(backoffMs * 2, BACKOFF_MS_MAX);
        if (clock.nowMs() + delayMs >= deadlineMs) throw giveUp(method.name, timeoutMs, error);
        await sleep(clock, delayMs, stop);
      }
    }
  }

  #open(): Link {
    if (this.#link === undefined || this.#link.connection.isClosed) {
      this.#link = { address: this.#target, connection: this.#options.connect(this.#target), refusals: 0 };
    }
    return this.#link;
  }

  /** Throws what is final; else chooses where the next try goes. */
  #judge(link: Link, error: unknown): Verdict {
    if (!CairnError.is(error)) throw error;
    this.#tries.add(1, { outcome: error.code });
    switch (error.code) {
      case 'NOT_LEADER':
        return this.#followHint(link, error);
      case 'DEADLINE_EXCEEDED':
        this.#leave(link, undefined);
        return { type: 'pause', pauseMs: 0 };
      case 'UNAVAILABLE':
        // Either the connection broke, or the leader cannot answer yet: then it stays the one to ask.
        if (link.connection.isClosed) this.#leave(link, undefined);
        return { type: 'pause', pauseMs: error.retryAfterMs };
      case 'RESOURCE_EXHAUSTED':
      case 'OUTCOME_UNKNOWN':
        return { type: 'pause', pauseMs: error.retryAfterMs };
      default:
        // No answer but the end of the session, as of a member of another cluster: the next call goes
        // elsewhere.
        if (link.connection.isClosed) this.#leave(link, undefined);
        throw error;
    }
  }

  #followHint(link: Link, error: CairnError): Verdict {
    const hint = error.details['leaderAddress'];
    if (typeof hint !== 'string' || hint === '') {
      this.#leave(link, undefined);
      return { type: 'pause', pauseMs: 0 };
    }
    if (hint === link.address) {
      link.refusals += 1;
      if (link.refusals > PATIENCE_MAX) this.#leave(link, undefined);
      return { type: 'pause', pauseMs: error.retryAfterMs };
    }
    this.#leave(link, hint);
    return { type: 'hop' };
  }

  /** Gives up a connection, unless another call did before. */
  #leave(link: Link, hint: string | undefined): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    link.connection.close();
    if (hint === undefined) {
      const { addresses } = this.#options;
      this.#turn = (this.#turn + 1) % addresses.length;
      this.#target = addresses[this.#turn] as string;
    } else {
      this.#target = hint;
    }
    this.#options.logger.debug('metadata client turns to another member', {
      from: link.address,
      to: this.#target,
    });
  }
}

function giveUp(method: string, timeoutMs: number, error: unknown): CairnError {
  const message =
    `the metadata service did not carry out ${method} within ${timeoutMs} ms; ` + `last: ${messageOf(error)}`;
  return new CairnError('UNAVAILABLE', message, { retryAfterMs: BACKOFF_MS_MAX, cause: error });
}
