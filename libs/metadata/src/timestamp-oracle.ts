import {
  assert,
  CairnError,
  timestamp,
  timestampFromUnixMs,
  TIMESTAMP_LOGICAL_STEPS,
  timestampToUnixMs,
  type Term,
  type Timestamp,
} from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';

import type { MetadataMetrics } from './metadata-metrics.js';
import type { Proposer } from './proposer.js';
import { settingOf } from './settings.js';

/** Timestamps that one call may take. */
export const TIMESTAMPS_PER_CALL_MAX = 65_536;

/** Extensions that one caller waits for before it is told to come back: others keep emptying the window. */
const EXTENSIONS_MAX = 8;

export interface TimestampOracleOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetadataMetrics;
  readonly proposer: Proposer;
  /** How far ahead of what is handed out the bound is persisted. Default 3,000; at least 100. */
  readonly windowMs?: number;
}

/**
 * - `closed`: this member does not lead. Nothing is remembered.
 * - `opening`: leads, and waits for a bound beyond every earlier one to be committed in its term.
 * - `serving`: hands out timestamps below that bound.
 */
type Phase =
  | { readonly type: 'closed' }
  | { readonly type: 'opening'; readonly term: Term }
  | { readonly type: 'serving'; readonly term: Term };

/** The last reading of the wall clock that was believed, to go on from while it is not. */
interface ClockAnchor {
  readonly unixMs: number;
  readonly nowMs: number;
}

/**
 * Hands out timestamps that only ever grow, over all leaders. Every timestamp lies below a bound that was
 * replicated before; a new leader starts at the last bound, so it is above everything its predecessors handed
 * out, whatever any clock says. The clock only makes timestamps resemble time: when it stands still or goes
 * back, counting goes on and borrows from the milliseconds to come; when it leaps ahead too far, it is not
 * believed.
 *
 * Whether this member still leads is not checked here: callers that need it (a timestamp above all that were
 * handed out before the request) confirm leadership between the request and the answer.
 *
 * After the timestamp oracle of TiDB's placement driver, with 12 logical bits in a safe integer.
 */
export class TimestampOracle {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: MetadataMetrics;
  readonly #proposer: Proposer;
  readonly #windowSteps: number;
  #phase: Phase = { type: 'closed' };
  /** Lowest timestamp not handed out. */
  #next = timestamp(0);
  /** Committed: everything handed out stays below. */
  #bound = timestamp(0);
  #jumpMaxMs = Infinity;
  #anchor: ClockAnchor | undefined;
  #isClockRefused = false;
  #extending: Promise<void> | undefined;

  constructor(options: TimestampOracleOptions) {
    const windowMs = options.windowMs ?? 3_000;
    assert(windowMs >= 100, 'a timestamp window is at least 100 ms', { windowMs });
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#proposer = options.proposer;
    this.#windowSteps = windowMs * TIMESTAMP_LOGICAL_STEPS;
  }

  get isServing(): boolean {
    return this.#phase.type === 'serving';
  }

  /** Leadership of `term` was gained: resolves once timestamps can be taken; rejects as the proposal did. */
  async open(term: Term): Promise<void> {
    this.close();
    this.#phase = { type: 'opening', term };
    const start = await this.#commitBound();
    const phase: Phase = this.#phase;
    if (phase.type !== 'opening' || phase.term !== term) throw this.#closedError();
    this.#next = start.next;
    this.#bound = start.bound;
    this.#phase = { type: 'serving', term };
  }

  /** Leadership was lost: forgets everything. */
  close(): void {
    this.#phase = { type: 'closed' };
    this.#next = timestamp(0);
    this.#bound = timestamp(0);
    this.#anchor = undefined;
    this.#isClockRefused = false;
    this.#extending = undefined;
  }

  /**
   * The first of `count` consecutive timestamps (1 .. TIMESTAMPS_PER_CALL_MAX); waits when the window must
   * move first. Rejects INVALID_ARGUMENT, NOT_LEADER, RESOURCE_EXHAUSTED, or as the proposal of the bound
   * did.
   */
  async take(count: number): Promise<Timestamp> {
    if (!Number.isSafeInteger(count) || count < 1 || count > TIMESTAMPS_PER_CALL_MAX) {
      const message = `1 to ${TIMESTAMPS_PER_CALL_MAX} timestamps can be taken at once, not ${count}`;
      throw new CairnError('INVALID_ARGUMENT', message);
    }
    for (let tries = 0; tries <= EXTENSIONS_MAX; tries += 1) {
      const first = this.#tryTake(count);
      if (first !== undefined) return first;
      await this.#extend();
    }
    throw new CairnError('RESOURCE_EXHAUSTED', 'timestamps are taken faster than their window can move', {
      retryAfterMs: 20,
    });
  }

  #tryTake(count: number): Timestamp | undefined {
    if (this.#phase.type !== 'serving') throw this.#closedError();
    const now = this.#physical(this.#bound);
    const first = now > this.#next ? now : this.#next;
    const end = first + count;
    if (end > this.#bound) return undefined;
    this.#next = timestamp(end);
    this.#metrics.timestamps(count);
    if (this.#bound - end < this.#windowSteps / 2) this.#extendInBackground();
    return first;
  }

  #extendInBackground(): void {
    if (this.#extending !== undefined) return;
    this.#extend().catch((error: unknown) => {
      // Whoever finds the window empty tries again and hears the error.
      this.#logger.debug('timestamp window not extended', { error: String(error) });
    });
  }

  /** One extension at a time; all who need one share it. */
  #extend(): Promise<void> {
    if (this.#extending !== undefined) return this.#extending;
    const phase = this.#phase;
    if (phase.type !== 'serving') return Promise.reject(this.#closedError());
    const extending = this.#commitBound()
      .then(({ bound }) => {
        if (this.#phase !== phase) throw this.#closedError();
        assert(bound > this.#bound, 'the bound of the timestamps must grow', { bound, old: this.#bound });
        this.#bound = bound;
      })
      .finally(() => {
        if (this.#extending === extending) this.#extending = undefined;
      });
    this.#extending = extending;
    return extending;
  }

  /** Replicates a bound one window beyond now, and beyond everything handed out or promised before. */
  #commitBound(): Promise<{ next: Timestamp; bound: Timestamp }> {
    return this.#proposer.run((state) => {
      this.#jumpMaxMs = settingOf(state.settings, 'timestamp.clock_jump_max_milliseconds');
      const persisted = state.timestampBound;
      const now = this.#physical(persisted);
      // While opening nothing is known of what predecessors handed out: start at their bound.
      const used = this.#phase.type === 'serving' ? this.#next : Math.max(persisted, 1);
      const next = timestamp(Math.max(now, used));
      const bound = timestamp(Math.max(next + this.#windowSteps, persisted + 1));
      assert(bound <= Number.MAX_SAFE_INTEGER, 'timestamps are used up', { bound });
      this.#metrics.windowExtended();
      return { changes: [{ type: 'timestamp-bound', value: bound }], result: { next, bound } };
    });
  }

  /** The present as a timestamp, from the wall clock as long as that is believable beside the bound. */
  #physical(bound: Timestamp): Timestamp {
    const nowMs = this.#clock.nowMs();
    const wallMs = this.#clock.unixMs();
    const boundMs = timestampToUnixMs(bound);
    const isRefused = bound > 0 && wallMs > boundMs + this.#jumpMaxMs;
    if (isRefused !== this.#isClockRefused) this.#noteClock(isRefused, wallMs, boundMs);
    if (!isRefused) {
      this.#anchor = { unixMs: wallMs, nowMs };
      return timestampFromUnixMs(Math.floor(wallMs));
    }
    this.#anchor ??= { unixMs: boundMs, nowMs };
    return timestampFromUnixMs(Math.floor(this.#anchor.unixMs + (nowMs - this.#anchor.nowMs)));
  }

  #noteClock(isRefused: boolean, wallMs: number, boundMs: number): void {
    this.#isClockRefused = isRefused;
    const fields = { wallUnixMs: wallMs, boundUnixMs: boundMs, jumpMaxMs: this.#jumpMaxMs };
    if (isRefused) {
      this.#metrics.clockRefused();
      this.#logger.error('wall clock too far ahead, timestamps go on without it', fields);
    } else {
      this.#logger.info('wall clock believed again', fields);
    }
  }

  #closedError(): CairnError {
    return new CairnError('NOT_LEADER', 'this metadata member does not hand out timestamps', {
      retryAfterMs: 50,
    });
  }
}
