import { assert, CairnError, messageOf, unreachable } from '@cairn/base';
import type { Clock, Logger, Rng, Timer } from '@cairn/ports';
import { backoffMs, ENDPOINT_BACKOFF } from './backoff.js';
import type { BatchChannel, RouterConnector, RouterLink } from './router-link.js';
import type { BatchHello, BatchRequest, BatchResponse } from './wire-binding.js';

/**
 * What the pool tells the dispatcher. Never called from inside a pool method that the dispatcher called, but
 * `giveUp`.
 */
export interface RouterPoolListener {
  /** A router said hello: `send` works. */
  onReady(hello: BatchHello, timestamp: number): void;
  onMessage(response: BatchResponse): void;
  onDrain(): void;
  /** The stream that was ready is over; what was sent on it and not answered is unclear. */
  onLost(error: CairnError): void;
  /** Anybody still waiting for a router? If not, the pool rests until it is needed. */
  needsRouter(): boolean;
}

export interface RouterPoolOptions {
  readonly endpoints: readonly string[];
  readonly connectTimeoutMs: number;
  readonly connector: RouterConnector;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
}

/** One router as this client has come to know it. */
interface Endpoint {
  readonly address: string;
  /** Failures since it last answered an operation. */
  failures: number;
  /** The pool does not try it again before. */
  restUntilMs: number;
}

/** One attempt of the pool to use one endpoint. */
interface Attempt {
  readonly endpoint: Endpoint;
  readonly link: RouterLink;
  channel: BatchChannel | undefined;
}

/**
 * - `idle`: nothing is wanted.
 * - `connecting`: a stream is open, its hello has not come; `timer` gives up on it.
 * - `ready`: the stream works.
 * - `resting`: every endpoint failed a moment ago; `timer` ends the rest of the first of them.
 * - `closed`: for good.
 */
type PoolState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting'; readonly attempt: Attempt; readonly timer: Timer }
  | { readonly kind: 'ready'; readonly attempt: Attempt; readonly hello: BatchHello }
  | { readonly kind: 'resting'; readonly timer: Timer }
  | { readonly kind: 'closed' };

interface Waiter {
  /** Reject as soon as every endpoint has been tried once, instead of waiting for one to come back. */
  readonly failFast: boolean;
  readonly triesLeftAtStart: number;
  settle(link: RouterLink | undefined, error: CairnError | undefined): void;
}

/** Most callers that may wait for a router at a time (scans, administrative calls). */
const WAITERS_MAX = 1024;

/**
 * Keeps one working batch stream to one of the endpoints. A lost stream is replaced at once by the next
 * endpoint that is not resting; an endpoint that fails rests longer each time, and is forgiven when it
 * answers.
 */
export class RouterPool {
  readonly #options: RouterPoolOptions;
  readonly #listener: RouterPoolListener;
  readonly #endpoints: Endpoint[];
  readonly #waiters = new Set<Waiter>();
  #state: PoolState = { kind: 'idle' };
  /** Where the search for the next endpoint starts. */
  #cursor: number;
  /** How many attempts failed since a router said hello. */
  #failedAttempts = 0;
  #lastError: CairnError | undefined;

  constructor(options: RouterPoolOptions, listener: RouterPoolListener) {
    this.#options = options;
    this.#listener = listener;
    this.#endpoints = options.endpoints.map((address) => ({ address, failures: 0, restUntilMs: 0 }));
    // Many clients with the same list must not all sit on its first router.
    this.#cursor = options.rng.integer(this.#endpoints.length);
  }

  get isReady(): boolean {
    return this.#state.kind === 'ready';
  }

  /** The endpoint in use; undefined when there is none. */
  get endpoint(): string | undefined {
    return this.#state.kind === 'ready' ? this.#state.attempt.endpoint.address : undefined;
  }

  get hello(): BatchHello | undefined {
    return this.#state.kind === 'ready' ? this.#state.hello : undefined;
  }

  /** Why no router can be reached, for the error of a call that waited in vain. */
  unreachableError(): CairnError {
    const list = this.#options.endpoints.join(', ');
    const reason = this.#lastError === undefined ? ' in time' : ` (${this.#lastError.message})`;
    return new CairnError('UNAVAILABLE', `cannot reach a router at ${list}${reason}`, {
      details: { unreachable: true },
      cause: this.#lastError,
    });
  }

  /** Starts connecting when nothing is under way. */
  need(): void {
    if (this.#state.kind === 'idle') this.#connectNext();
  }

  /** Sends on the ready stream; same promise as `BatchChannel.send`. */
  send(request: BatchRequest): boolean {
    assert(this.#state.kind === 'ready', 'sent without a ready stream');
    const channel = this.#state.attempt.channel;
    assert(channel !== undefined, 'a ready stream has a channel');
    return channel.send(request);
  }

  /**
   * The link in use, as soon as there is one. `failFast` rejects once every endpoint has failed; without it
   * only the deadline ends the wait. Rejects with UNAVAILABLE, or CANCELLED by the signal.
   */
  link(options: {
    timeoutMs: number;
    failFast: boolean;
    signal?: AbortSignal | undefined;
  }): Promise<RouterLink> {
    if (this.#state.kind === 'ready') return Promise.resolve(this.#state.attempt.link);
    if (this.#state.kind === 'closed') return Promise.reject(closedError());
    if (this.#waiters.size >= WAITERS_MAX) {
      return Promise.reject(
        new CairnError('RESOURCE_EXHAUSTED', `${WAITERS_MAX} calls already wait for a router`, {
          retryAfterMs: 100,
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        failFast: options.failFast,
        triesLeftAtStart: this.#failedAttempts + this.#endpoints.length,
        settle: (link, error) => {
          this.#waiters.delete(waiter);
          timer.cancel();
          options.signal?.removeEventListener('abort', onAbort);
          if (link !== undefined) resolve(link);
          else reject(error ?? this.unreachableError());
        },
      };
      const onAbort = (): void =>
        waiter.settle(undefined, new CairnError('CANCELLED', 'cancelled by the caller'));
      const timer = this.#options.clock.setTimer(options.timeoutMs, () =>
        waiter.settle(undefined, undefined),
      );
      options.signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
      this.need();
    });
  }

  /** The router in use answers nothing: it rests, and the next one is tried. `onLost` is called from here. */
  giveUp(): void {
    if (this.#state.kind !== 'ready') return;
    const { attempt } = this.#state;
    const message = `${attempt.endpoint.address} answers nothing`;
    this.#onFailure(attempt, new CairnError('UNAVAILABLE', message));
  }

  /** An operation was answered: the endpoint is well. */
  onAnswered(): void {
    if (this.#state.kind === 'ready') this.#state.attempt.endpoint.failures = 0;
  }

  close(): void {
    const state = this.#state;
    this.#state = { kind: 'closed' };
    if (state.kind === 'connecting' || state.kind === 'resting') state.timer.cancel();
    if (state.kind === 'connecting' || state.kind === 'ready') {
      state.attempt.channel?.close();
      state.attempt.link.close();
    }
    for (const waiter of [...this.#waiters]) waiter.settle(undefined, closedError());
  }

  #connectNext(): void {
    const nowMs = this.#options.clock.nowMs();
    const count = this.#endpoints.length;
    let soonestMs = Infinity;
    for (let step = 0; step < count; step += 1) {
      const index = (this.#cursor + step) % count;
      const endpoint = this.#endpoints[index];
      assert(endpoint !== undefined, 'the cursor stays in the list');
      if (endpoint.restUntilMs <= nowMs) {
        this.#cursor = index;
        this.#connect(endpoint);
        return;
      }
      soonestMs = Math.min(soonestMs, endpoint.restUntilMs);
    }
    const timer = this.#options.clock.setTimer(soonestMs - nowMs, () => {
      if (this.#state.kind !== 'resting') return;
      this.#state = { kind: 'idle' };
      if (this.#isWanted()) this.#connectNext();
    });
    this.#state = { kind: 'resting', timer };
  }

  #isWanted(): boolean {
    return this.#waiters.size > 0 || this.#listener.needsRouter();
  }

  #connect(endpoint: Endpoint): void {
    const link = this.#options.connector.connect(endpoint.address);
    const attempt: Attempt = { endpoint, link, channel: undefined };
    const timeoutMs = this.#options.connectTimeoutMs;
    const timer = this.#options.clock.setTimer(timeoutMs, () => {
      const message = `${endpoint.address}: no hello within ${timeoutMs} ms`;
      this.#onFailure(attempt, new CairnError('UNAVAILABLE', message));
    });
    this.#state = { kind: 'connecting', attempt, timer };
    attempt.channel = link.openBatch({
      onMessage: (response) => this.#onMessage(attempt, response),
      onDrain: () => {
        if (this.#isCurrent(attempt)) this.#listener.onDrain();
      },
      onClose: (error) => {
        const reason = error ?? new CairnError('UNAVAILABLE', `${endpoint.address} ended the stream`);
        this.#onFailure(attempt, CairnError.is(reason) ? reason : wrap(reason, endpoint.address));
      },
    });
  }

  #isCurrent(attempt: Attempt): boolean {
    const state = this.#state;
    return (state.kind === 'connecting' || state.kind === 'ready') && state.attempt === attempt;
  }

  #onMessage(attempt: Attempt, response: BatchResponse): void {
    const state = this.#state;
    switch (state.kind) {
      case 'ready':
        if (state.attempt === attempt) this.#listener.onMessage(response);
        return;
      case 'connecting':
        if (state.attempt === attempt) this.#onFirstMessage(attempt, state.timer, response);
        return;
      case 'idle':
      case 'resting':
      case 'closed':
        return;
      default:
        unreachable(state);
    }
  }

  #onFirstMessage(attempt: Attempt, timer: Timer, response: BatchResponse): void {
    const hello = response.hello;
    if (hello === undefined) {
      const message = `${attempt.endpoint.address} did not begin with a hello; is it a Cairn router?`;
      this.#onFailure(attempt, new CairnError('UNAVAILABLE', message));
      return;
    }
    timer.cancel();
    this.#failedAttempts = 0;
    this.#state = { kind: 'ready', attempt, hello };
    this.#options.logger.debug('router connected', { endpoint: attempt.endpoint.address });
    for (const waiter of [...this.#waiters]) waiter.settle(attempt.link, undefined);
    this.#listener.onReady(hello, response.timestamp);
  }

  #onFailure(attempt: Attempt, error: CairnError): void {
    if (!this.#isCurrent(attempt)) return;
    const state = this.#state;
    const wasReady = state.kind === 'ready';
    if (state.kind === 'connecting') state.timer.cancel();
    attempt.channel?.close();
    attempt.link.close();
    this.#state = { kind: 'idle' };
    this.#lastError = error;
    const endpoint = attempt.endpoint;
    const rest = backoffMs(ENDPOINT_BACKOFF, endpoint.failures, this.#options.rng);
    endpoint.restUntilMs = this.#options.clock.nowMs() + rest;
    endpoint.failures += 1;
    this.#cursor = (this.#cursor + 1) % this.#endpoints.length;
    this.#options.logger.debug('router lost', { endpoint: endpoint.address, reason: error.message });
    if (wasReady) {
      // A single router that was well a moment ago is tried again at once: it may only have dropped the
      // stream.
      if (this.#endpoints.length === 1 && endpoint.failures === 1) endpoint.restUntilMs = 0;
      this.#listener.onLost(error);
    } else {
      this.#failedAttempts += 1;
      this.#failWaiters();
    }
    // The listener may have closed or restarted the pool.
    if (this.#state.kind === 'idle' && this.#isWanted()) this.#connectNext();
  }

  #failWaiters(): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.failFast && this.#failedAttempts >= waiter.triesLeftAtStart)
        waiter.settle(undefined, undefined);
    }
  }
}

function wrap(error: Error, address: string): CairnError {
  return new CairnError('UNAVAILABLE', `${address}: ${messageOf(error)}`, { cause: error });
}

export function closedError(): CairnError {
  return new CairnError('CANCELLED', 'the client was closed');
}
