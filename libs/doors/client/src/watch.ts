import { CairnError, messageOf } from '@cairn/base';
import { sleep, type Clock, type Rng } from '@cairn/ports';
import { backoffMs, REFUSAL_BACKOFF } from './backoff.js';
import { Change } from './change.js';
import type { KeepAlive } from './dispatcher.js';
import { isRetriable } from './errors.js';
import type { ClientStats } from './options.js';
import type { WatchStream } from './router-link.js';
import type { RouterPool } from './router-pool.js';
import { tokenTextOf } from './watch-options.js';
import { WatchResetReason, type WatchChange, type WatchRequest, type WatchResponse } from './wire-binding.js';

/** Watches of one client under way: each has a stream of its connection. */
const WATCHES_MAX = 512;
/** A router that says nothing for so many times the interval it was to keep counts as lost. */
const SILENCE_FACTOR = 3;
const SILENCE_MS_MIN = 5_000;
/** A try to reach a router. */
const LINK_MS = 5_000;

export interface WatchContext {
  readonly pool: RouterPool;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly stats: ClientStats;
  readonly keepAlive: KeepAlive;
  readonly signal: AbortSignal;
  /** Watches of this client that are under way. */
  readonly open: { count: number };
  readonly outageMsMax: number;
}

type WatchBeginning = WatchRequest['from'];

/**
 * The changes of a span as they happen; made by `client.watch`. To be iterated over once. Leaving the loop
 * ends it, as `close` does.
 */
export class Watch implements AsyncIterable<Change> {
  readonly #context: WatchContext;
  readonly #request: WatchRequest;
  readonly #beginning: () => Promise<WatchBeginning>;
  /** Where it would go on now. */
  #token: Uint8Array | undefined;
  #resolved = 0;
  #startedAt = 0;
  #stream: WatchStream | undefined;
  /** Came, and was not handed out. */
  #ready: readonly WatchChange[] = [];
  #handed = 0;
  #isOpen = false;
  readonly #closing = new AbortController();
  readonly #signal: AbortSignal;
  #changes: AsyncGenerator<Change, void, undefined> | undefined;

  /** Callers use `client.watch`. */
  constructor(context: WatchContext, request: WatchRequest, beginning: () => Promise<WatchBeginning>) {
    this.#context = context;
    this.#request = request;
    this.#beginning = beginning;
    this.#signal = AbortSignal.any([context.signal, this.#closing.signal]);
  }

  /**
   * Where it would go on now: that of the last change that was handed out, or later where the router has said
   * that nothing came between. undefined before it has begun.
   */
  get token(): string | undefined {
    return this.#token && tokenTextOf(this.#token);
  }

  /** All changes at or below this timestamp have been handed out. 0 = not known yet. */
  get resolved(): number {
    return this.#ready.length > this.#handed ? 0 : this.#resolved;
  }

  /**
   * Begins, where the first change would otherwise be waited for; answers the timestamp behind which it tells
   * of all changes. Rejects as the iteration does.
   */
  async start(): Promise<number> {
    while (this.#startedAt === 0) {
      const changes = await this.#next();
      this.#ready = changes;
      this.#handed = 0;
    }
    return this.#startedAt;
  }

  /** Ends it: the iteration rejects with CANCELLED. Idempotent. */
  close(): void {
    this.#closing.abort(new CairnError('CANCELLED', 'the watch was closed'));
    this.#end();
  }

  [Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined> {
    this.#changes ??= this.#iterate();
    return this.#changes;
  }

  async *#iterate(): AsyncGenerator<Change, void, undefined> {
    try {
      for (;;) {
        for (let next = this.#ready[this.#handed]; next !== undefined; next = this.#ready[this.#handed]) {
          this.#handed += 1;
          this.#token = next.token;
          yield new Change(next);
        }
        this.#ready = await this.#next();
        this.#handed = 0;
      }
    } finally {
      this.#end();
    }
  }

  #end(): void {
    this.#stream?.cancel();
    this.#stream = undefined;
    if (this.#isOpen) this.#context.open.count -= 1;
    this.#isOpen = false;
  }

  /** Changes, or none where the router only said where it is; from whatever router there is. */
  async #next(): Promise<readonly WatchChange[]> {
    const { clock, keepAlive, stats } = this.#context;
    this.#enter();
    keepAlive.hold();
    try {
      let lostAtMs: number | undefined;
      for (let failures = 0; ; failures += 1) {
        try {
          return await this.#pull();
        } catch (error) {
          this.#stream?.cancel();
          this.#stream = undefined;
          if (this.#signal.aborted) throw cancelled(this.#signal);
          lostAtMs ??= clock.nowMs();
          await this.#pauseOrThrow(error, failures, lostAtMs);
          stats.watchesResumed += 1;
        }
      }
    } catch (error) {
      this.#end();
      throw error;
    } finally {
      keepAlive.release();
    }
  }

  /** Throws RESOURCE_EXHAUSTED. */
  #enter(): void {
    if (this.#isOpen) return;
    const { open } = this.#context;
    if (open.count >= WATCHES_MAX) {
      const message = `${WATCHES_MAX} watches are under way in this client; end some before starting more`;
      throw new CairnError('RESOURCE_EXHAUSTED', message, { details: { local: true } });
    }
    open.count += 1;
    this.#isOpen = true;
  }

  /** Throws what trying again does not help, and everything when no router was to be had for too long. */
  async #pauseOrThrow(error: unknown, failures: number, lostAtMs: number): Promise<void> {
    if (!CairnError.is(error) || !isRetriable(error)) throw error;
    const { clock, rng, outageMsMax } = this.#context;
    const pauseMs = failures === 0 ? 0 : backoffMs(REFUSAL_BACKOFF, failures, rng);
    const waitMs = Math.max(error.retryAfterMs, pauseMs);
    if (clock.nowMs() + waitMs - lostAtMs >= outageMsMax) throw error;
    const signal = this.#signal;
    await sleep(clock, waitMs, signal).catch(() => {
      throw cancelled(signal);
    });
  }

  async #pull(): Promise<readonly WatchChange[]> {
    const { pool } = this.#context;
    const signal = this.#signal;
    if (signal.aborted) throw cancelled(signal);
    if (this.#stream === undefined) {
      const from: WatchBeginning =
        this.#token === undefined
          ? await this.#beginning()
          : { $case: 'token', value: Buffer.from(this.#token) };
      const link = await pool.link({ timeoutMs: LINK_MS, failFast: false, signal });
      this.#stream = link.watch({ ...this.#request, from });
    }
    const response = await this.#heard(this.#stream);
    if (response?.event === undefined)
      throw new CairnError('UNAVAILABLE', 'the router ended the watch without a word');
    return this.#take(response.event);
  }

  #take(event: NonNullable<WatchResponse['event']>): readonly WatchChange[] {
    switch (event.$case) {
      case 'started':
        if (this.#startedAt === 0) this.#startedAt = event.value.timestamp;
        this.#token ??= event.value.token;
        return [];
      case 'progress':
        this.#token = event.value.token;
        this.#resolved = Math.max(this.#resolved, event.value.timestamp);
        return [];
      case 'changes':
        this.#check(event.value.changes);
        return event.value.changes;
      case 'reset':
        throw resetError(event.value.reason, event.value.oldest);
    }
  }

  /** What a router sends is not believed blindly: changes out of order would be lost at the next token. */
  #check(changes: readonly WatchChange[]): void {
    const { key, start, end } = this.#request;
    let last = 0;
    for (const change of changes) {
      const isInside =
        key.length > 0
          ? change.key.equals(key)
          : Buffer.compare(change.key, start) >= 0 &&
            (end.length === 0 || Buffer.compare(change.key, end) < 0);
      if (!isInside || change.timestamp < last || change.timestamp < this.#resolved)
        throw new CairnError('INTERNAL', 'the router sent changes outside of the span, or out of order');
      last = change.timestamp;
    }
  }

  /** The next message; UNAVAILABLE when none comes for longer than the router was told to be silent. */
  #heard(stream: WatchStream): ReturnType<WatchStream['next']> {
    const { clock } = this.#context;
    const signal = this.#signal;
    const silenceMs = Math.max(SILENCE_MS_MIN, SILENCE_FACTOR * this.#request.progressMs);
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        finish();
        reject(cancelled(signal));
      };
      const timer = clock.setTimer(silenceMs, () => {
        finish();
        reject(new CairnError('UNAVAILABLE', `the router said nothing for ${silenceMs} ms`));
      });
      signal.addEventListener('abort', onAbort, { once: true });
      stream.next().then(
        (message) => {
          finish();
          resolve(message);
        },
        (error: unknown) => {
          finish();
          reject(error instanceof Error ? error : new CairnError('INTERNAL', messageOf(error)));
        },
      );
    });
  }
}

function resetError(reason: WatchResetReason, oldest: number): CairnError {
  if (reason === WatchResetReason.BACKLOG) {
    return new CairnError('UNAVAILABLE', 'the router ended the watch: what it had was not taken');
  }
  return new CairnError(
    'WATCH_RESET',
    'changes that should have come may be forgotten: the watch began, or was, too far back' +
      (oldest > 0 ? `; one may begin at ${oldest}` : ''),
    { details: { oldest } },
  );
}

function cancelled(signal: AbortSignal): CairnError {
  if (CairnError.is(signal.reason) && signal.reason.code === 'CANCELLED') return signal.reason;
  return new CairnError('CANCELLED', 'cancelled by the caller', { cause: signal.reason });
}
