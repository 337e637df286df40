import {
  assert,
  CairnError,
  rethrowInvariant,
  timestamp,
  timestampFromUnixMs,
  TIMESTAMP_LOGICAL_STEPS,
  timestampToUnixMs,
  type Term,
  type Timestamp,
} from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';

import { UNIX_MS_MAX, type WallTime } from './member-clocks.js';
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
  /** What the wall clocks of the group showed when they were last heard. */
  wallTime(): WallTime;
  /**
   * What a majority of them shows at one moment, asked anew: timestamps leap to nothing else. Undefined =
   * there is no such majority. Takes two seconds at most; never rejects.
   */
  agreedUnixMs(): Promise<number | undefined>;
  /**
   * The group has no other member whose clock could agree: then a clock is believed when this member opens.
   */
  readonly isAlone: boolean;
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

/** A moment of the time that timestamps follow, to go on from by the monotonic clock. */
interface ClockAnchor {
  readonly unixMs: number;
  readonly nowMs: number;
}

/**
 * Timestamps are handed out at most so far ahead of the time they stand for: whoever takes more must wait
 * for it to pass. Above what a leader finds ahead of it when it begins (a window and a jump).
 */
const BORROWED_MS_MAX = 20_000;

/** Timestamps that are far ahead of the clocks pass this much slower until these have caught up. */
const SLOW_RATE = 0.9;

/** Members that were asked whether timestamps should leap are left alone for this long. */
const LEAP_PAUSE_MS = 500;

/**
 * Hands out timestamps that only ever grow, over all leaders. Every timestamp lies below a bound that was
 * replicated before; a new leader starts at the last bound, so it is above everything its predecessors handed
 * out, whatever any clock says. Clocks only make timestamps resemble time: they are followed as far as some
 * seconds; a leap is followed when most members, asked anew, show it at one moment, and otherwise timestamps
 * pass as the monotonic clock does.
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
  /** What timestamps follow now: the clocks, or the monotonic time since they were last believed. */
  #anchor: ClockAnchor | undefined;
  readonly #wallTime: () => WallTime;
  readonly #agreedUnixMs: () => Promise<number | undefined>;
  readonly #isAlone: boolean;
  #isClockRefused = false;
  #extending: Promise<void> | undefined;
  /** The members are being asked whether timestamps should leap. */
  #leaping: Promise<void> | undefined;
  #leapAfterMs = -Infinity;

  constructor(options: TimestampOracleOptions) {
    const windowMs = options.windowMs ?? 3_000;
    assert(windowMs >= 100, 'a timestamp window is at least 100 ms', { windowMs });
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#proposer = options.proposer;
    this.#wallTime = () => options.wallTime();
    this.#agreedUnixMs = () => options.agreedUnixMs();
    this.#isAlone = options.isAlone;
    this.#windowSteps = windowMs * TIMESTAMP_LOGICAL_STEPS;
  }

  get isServing(): boolean {
    return this.#phase.type === 'serving';
  }

  /**
   * Nothing above it was issued, by this leader or by one before it; a leader that is new does not know how
   * far below its bound the last one came. 0 = nothing was issued, or this member does not serve.
   */
  get newest(): Timestamp {
    return timestamp(Math.max(0, this.#next - 1));
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

  /** This member lost the leadership: it forgets everything. */
  close(): void {
    this.#phase = { type: 'closed' };
    this.#next = timestamp(0);
    this.#bound = timestamp(0);
    this.#anchor = undefined;
    this.#isClockRefused = false;
    this.#extending = undefined;
    this.#leaping = undefined;
    this.#leapAfterMs = -Infinity;
  }

  /**
   * The first of `count` consecutive timestamps (1 .. TIMESTAMPS_PER_CALL_MAX); waits when the window must
   * move first, and while members are asked whether to leap: what is written just before a leap is old at
   * once. Rejects INVALID_ARGUMENT, NOT_LEADER, RESOURCE_EXHAUSTED, or as the proposal of the bound did.
   */
  async take(count: number): Promise<Timestamp> {
    if (!Number.isSafeInteger(count) || count < 1 || count > TIMESTAMPS_PER_CALL_MAX) {
      const message = `1 to ${TIMESTAMPS_PER_CALL_MAX} timestamps can be taken at once, not ${count}`;
      throw new CairnError('INVALID_ARGUMENT', message);
    }
    for (let tries = 0; tries <= EXTENSIONS_MAX; tries += 1) {
      const first = this.#tryTake(count);
      if (first !== undefined) return first;
      await (this.#leaping ?? this.#extend());
    }
    throw new CairnError('RESOURCE_EXHAUSTED', 'timestamps are taken faster than their window can move', {
      retryAfterMs: 20,
    });
  }

  #tryTake(count: number): Timestamp | undefined {
    if (this.#phase.type !== 'serving') throw this.#closedError();
    const now = this.#physical(this.#bound);
    if (this.#leaping !== undefined) return undefined;
    const first = now > this.#next ? now : this.#next;
    const end = first + count;
    const borrowedMs = (end - now) / TIMESTAMP_LOGICAL_STEPS;
    if (borrowedMs > BORROWED_MS_MAX + this.#jumpMaxMs) {
      const aheadMs = Math.round(borrowedMs);
      const message = `timestamps are taken faster than time passes: they are ${aheadMs} ms ahead`;
      throw new CairnError('RESOURCE_EXHAUSTED', message, { retryAfterMs: 20 });
    }
    if (end > this.#bound) return undefined;
    this.#next = timestamp(end);
    this.#metrics.timestamps(count);
    if (this.#bound - end < this.#windowSteps / 2) this.#extendInBackground();
    return first;
  }

  #extendInBackground(): void {
    if (this.#extending !== undefined) return;
    this.#extend().catch((error: unknown) => {
      rethrowInvariant(error);
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
      assert(bound <= Number.MAX_SAFE_INTEGER, 'timestamps have come to their end', { bound });
      this.#metrics.windowExtended();
      return { changes: [{ type: 'timestamp-bound', value: bound }], result: { next, bound } };
    });
  }

  /** The present as a timestamp. `bound` is where time stood when this member began to lead. */
  #physical(bound: Timestamp): Timestamp {
    const nowMs = this.#clock.nowMs();
    const { unixMs, isAgreed } = this.#wallTime();
    const isBeyond = unixMs > UNIX_MS_MAX;
    if (isBeyond && this.#anchor === undefined && bound === 0) {
      throw new CairnError(
        'UNAVAILABLE',
        `the wall clock shows a time that timestamps cannot express (${unixMs} ms after 1970): correct it`,
      );
    }
    // Nobody has a timestamp yet: any time will do to begin with.
    const anchor = this.#anchor ?? { unixMs: bound > 0 ? timestampToUnixMs(bound) : unixMs, nowMs };
    const passedMs = nowMs - anchor.nowMs;
    const aheadMs = unixMs - (anchor.unixMs + passedMs);
    const isFar = Math.abs(aheadMs) > this.#jumpMaxMs;
    const mayLeap = isFar && aheadMs > 0 && !isBeyond && isAgreed;
    const isRefused = isFar && !(mayLeap && this.#isAlone && this.#anchor === undefined);
    if (mayLeap && !this.#isAlone) this.#seekLeap(nowMs);
    if (isFar && !isRefused) this.#noteLeap(aheadMs);
    if (isRefused !== this.#isClockRefused && this.#leaping === undefined) {
      this.#noteClock(isRefused, unixMs, aheadMs);
    }
    // Agreed clocks that are far behind are right, but timestamps cannot go back.
    const rate = isAgreed && aheadMs < 0 ? SLOW_RATE : 1;
    this.#anchor = { unixMs: isRefused ? anchor.unixMs + passedMs * rate : unixMs, nowMs };
    return timestampFromUnixMs(Math.floor(this.#anchor.unixMs));
  }

  /** What was heard of the clocks says that timestamps should leap: whether it holds still is asked. */
  #seekLeap(nowMs: number): void {
    if (this.#leaping !== undefined || nowMs < this.#leapAfterMs) return;
    const leaping = this.#agreedUnixMs().then((unixMs) => {
      if (this.#leaping !== leaping) return;
      this.#leaping = undefined;
      this.#leapAfterMs = this.#clock.nowMs() + LEAP_PAUSE_MS;
      if (unixMs !== undefined) this.#leapTo(unixMs);
    });
    this.#leaping = leaping;
  }

  #leapTo(unixMs: number): void {
    const anchor = this.#anchor;
    const nowMs = this.#clock.nowMs();
    assert(anchor !== undefined, 'timestamps leap from somewhere');
    const aheadMs = unixMs - (anchor.unixMs + nowMs - anchor.nowMs);
    if (aheadMs <= this.#jumpMaxMs) return;
    this.#noteLeap(aheadMs);
    this.#anchor = { unixMs, nowMs };
  }

  #noteLeap(aheadMs: number): void {
    this.#metrics.clockLeapt();
    this.#logger.warn('timestamps leap to the time that most members show', { aheadMs: Math.round(aheadMs) });
  }

  #noteClock(isRefused: boolean, unixMs: number, aheadMs: number): void {
    this.#isClockRefused = isRefused;
    const fields = { wallUnixMs: unixMs, aheadMs: Math.round(aheadMs), jumpMaxMs: this.#jumpMaxMs };
    if (isRefused) {
      this.#metrics.clockRefused();
      this.#logger.warn('wall clocks are too far from the timestamps, which go on without them', fields);
    } else {
      this.#logger.info('wall clocks believed again', fields);
    }
  }

  /** The wall clocks of the group are not followed at present. */
  get isClockRefused(): boolean {
    return this.#isClockRefused;
  }

  #closedError(): CairnError {
    return new CairnError('NOT_LEADER', 'this metadata member does not hand out timestamps', {
      retryAfterMs: 50,
    });
  }
}
