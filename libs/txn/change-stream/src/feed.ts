import { NO_BYTES, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import type { Clock, Rng } from '@cairn/ports';
import { changeBytesOf, type Change, type ChangesReply, type ChangesRequest } from '@cairn/wire';

import { inOrder } from './positions.js';
import { isPassing, pauseBeforeRetry } from './retries.js';
import { Subscribers, type Subscriber } from './subscribers.js';
import { encodeToken } from './tokens.js';
import type { ChangesSource, EncodeChange, KeySpan, StreamEvent } from './types.js';

/** How long a leader may hold a question. */
const WAIT_MS = 10_000;
/** The same where an answer is expected at once, unless a transaction is in the way. */
const EXPECTED_WAIT_MS = 1_000;
const PAGE_BYTES = 1024 * 1024;
/** An answer that came faster and brought nothing was no long poll. */
const FRUITLESS_MS = 50;
/**
 * Unresolved changes are rid of repeats when there are so many, then when there are twice as many as left.
 */
const SWEEP_LENGTH_MIN = 1_024;

export interface FeedParts {
  readonly source: ChangesSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly encode: EncodeChange;
  readonly unresolvedBytesMax: number;
}

/** What a feed tells; after the last three it is over. */
export interface FeedEvents<S extends Subscriber> {
  /** More is resolved; what that brought its subscribers have. */
  advanced(feed: RangeFeed<S>): void;
  /** Its span is not in one range any more: it goes on in others from what is resolved. */
  regroup(feed: RangeFeed<S>): void;
  /** Its subscribers have to read anew what is behind what is resolved. */
  overflowed(feed: RangeFeed<S>): void;
  /** Versions may be gone. */
  reset(feed: RangeFeed<S>, oldest: Timestamp): void;
  failed(feed: RangeFeed<S>, error: unknown): void;
}

/** Where a feed begins. */
export interface FeedStart {
  readonly span: KeySpan;
  readonly withPrevious: boolean;
  /** Everything behind it is told. */
  readonly after: Timestamp;
  /** Nothing is changed at or below it any more; 0 = that is not known. */
  readonly promised: Timestamp;
  /** The oracle has issued `after`: the leader is to hear of it. */
  readonly isIssued: boolean;
}

type Page = Extract<ChangesReply, { readonly type: 'page' }>;

/**
 * What is changed in one part of a range, however many listen: asks its leader, one question after the other,
 * and hands on what is resolved, each change once, in order. What it hands on lies above `resolved` as of its
 * beginning.
 */
export class RangeFeed<S extends Subscriber> {
  readonly span: KeySpan;
  readonly withPrevious: boolean;
  readonly subscribers = new Subscribers<S>();
  /** When more was resolved last. */
  advancedAtMs: number;
  readonly #parts: FeedParts;
  readonly #events: FeedEvents<S>;
  readonly #over = new AbortController();
  #resolved: Timestamp;
  #promised: Timestamp;
  /** Up to there it shall be resolved soon. */
  #wanted: Timestamp;
  #index = 0;
  #rangeId = 0;
  #resume: Uint8Array = NO_BYTES;
  #unresolved: Change[] = [];
  #unresolvedBytes = 0;
  #sweepLength = SWEEP_LENGTH_MIN;
  /** The question under way, if nothing answers it soon. */
  #poll: AbortController | undefined;

  constructor(
    parts: FeedParts,
    { span, withPrevious, after, promised, isIssued }: FeedStart,
    events: FeedEvents<S>,
  ) {
    this.#parts = parts;
    this.span = span;
    this.withPrevious = withPrevious;
    this.#resolved = after;
    this.#promised = promised;
    this.#wanted = isIssued ? after : timestamp(0);
    this.#events = events;
    this.advancedAtMs = parts.clock.nowMs();
  }

  /** All changes at or below it were handed on, or lie before the beginning. */
  get resolved(): Timestamp {
    return this.#resolved;
  }

  /**
   * Nothing is changed at or below it any more. Before the leader has said so of the beginning it is below
   * `resolved`.
   */
  get promised(): Timestamp {
    return this.#promised;
  }

  get unresolvedBytes(): number {
    return this.#unresolvedBytes;
  }

  /** `pausesFirst`: the last feed of this span ended only just, and told of nothing. */
  start(pausesFirst: boolean): void {
    this.#run(pausesFirst).catch((error: unknown) => {
      rethrowInvariant(error);
      this.#end();
      this.#events.failed(this, error);
    });
  }

  /**
   * Everything at or below the timestamp, which the oracle has issued, shall be resolved soon. Answers
   * whether that was not wanted already, of any timestamp.
   */
  want(at: Timestamp): boolean {
    if (at <= this.#wanted || at <= this.#promised) return false;
    const isNew = this.#wanted <= this.#promised;
    this.#wanted = at;
    this.#poll?.abort();
    return isNew;
  }

  close(): void {
    this.#end();
  }

  #end(): void {
    this.#over.abort();
    this.#poll?.abort();
    this.#unresolved = [];
    this.#unresolvedBytes = 0;
  }

  async #run(pausesFirst: boolean): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#over;
    let attempts = pausesFirst ? 1 : 0;
    while (!signal.aborted) {
      if (attempts > 0) await pauseBeforeRetry(this.#parts, attempts - 1, signal);
      const askedAtMs = clock.nowMs();
      const reply = await this.#ask();
      if (signal.aborted) return;
      if (reply === 'woken') attempts = 0;
      else if (reply === 'failed') attempts += 1;
      else if (reply.type !== 'page') {
        this.#end();
        if (reply.type === 'regroup') this.#events.regroup(this);
        else this.#events.reset(this, reply.oldest);
        return;
      } else {
        const isFruitful = this.#take(reply) || clock.nowMs() - askedAtMs >= FRUITLESS_MS;
        attempts = isFruitful ? 0 : attempts + 1;
      }
    }
  }

  async #ask(): Promise<ChangesReply | 'woken' | 'failed'> {
    const { source } = this.#parts;
    const isExpected = this.#wanted > this.#promised;
    const poll = new AbortController();
    const end = (): void => {
      poll.abort();
    };
    this.#over.signal.addEventListener('abort', end, { once: true });
    const isHeld = !isExpected && this.#resume.length === 0;
    if (isHeld) this.#poll = poll;
    try {
      return await source.ask(this.#question(isExpected ? EXPECTED_WAIT_MS : WAIT_MS), {
        readTimestamp: isExpected ? this.#wanted : timestamp(0),
        signal: poll.signal,
      });
    } catch (error) {
      rethrowInvariant(error);
      if (isHeld && poll.signal.aborted) return 'woken';
      if (!isPassing(error)) throw error;
      return 'failed';
    } finally {
      this.#poll = undefined;
      this.#over.signal.removeEventListener('abort', end);
    }
  }

  #question(waitMs: number): ChangesRequest {
    return {
      ...{ start: this.span.start, end: this.span.end, after: this.#resolved },
      ...{ index: this.#index, rangeId: this.#rangeId, resume: this.#resume },
      ...{ withPrevious: this.withPrevious, waitMs, bytesMax: PAGE_BYTES },
    };
  }

  /** Answers whether it brought anything. */
  #take(page: Page): boolean {
    this.#index = page.index;
    this.#rangeId = page.rangeId;
    this.#resume = page.resume;
    const fresh = page.changes.filter((change) => change.timestamp > this.#resolved);
    const isAdvanced = page.resolved > this.#promised;
    if (isAdvanced) this.#promised = page.resolved;
    if (page.resolved > this.#resolved) this.#resolve(fresh, page.resolved);
    else this.#keep(fresh);
    if (this.#unresolvedBytes > this.#parts.unresolvedBytesMax) {
      this.#end();
      this.#events.overflowed(this);
    } else if (isAdvanced) {
      this.advancedAtMs = this.#parts.clock.nowMs();
      this.#events.advanced(this);
    }
    return isAdvanced || page.changes.length > 0 || page.resume.length > 0;
  }

  #resolve(fresh: readonly Change[], resolved: Timestamp): void {
    const ready: Change[] = [];
    const before = this.#unresolved;
    this.#unresolved = [];
    this.#unresolvedBytes = 0;
    for (const change of before) {
      if (change.timestamp <= resolved) ready.push(change);
      else this.#add(change);
    }
    const left: Change[] = [];
    for (const change of fresh) (change.timestamp <= resolved ? ready : left).push(change);
    this.#keep(left);
    for (const change of inOrder(ready)) this.#handOn(change);
    // Behind it: whoever finds no room for one of them has had all only up to what was resolved before.
    this.#resolved = resolved;
  }

  #keep(changes: readonly Change[]): void {
    for (const change of changes) this.#add(ownCopy(change));
    if (this.#unresolved.length < this.#sweepLength) return;
    const distinct = inOrder(this.#unresolved);
    this.#unresolved = [];
    this.#unresolvedBytes = 0;
    for (const change of distinct) this.#add(change);
    this.#sweepLength = Math.max(SWEEP_LENGTH_MIN, 2 * distinct.length);
  }

  #add(change: Change): void {
    this.#unresolved.push(change);
    this.#unresolvedBytes += changeBytesOf(change);
  }

  #handOn(change: Change): void {
    const takers = this.subscribers.of(change.key);
    if (takers.length === 0) return;
    const event = eventOf(change, this.#parts.encode);
    for (const taker of takers) taker.take(event);
  }
}

/** What goes to those who watch: nothing of the message that it came in. */
export function eventOf(change: Change, encode: EncodeChange): StreamEvent {
  const { timestamp: at, start, sequence } = change;
  const key = Buffer.from(change.key);
  return { timestamp: at, start, sequence, key, encoded: encode(change, encodeToken(change)) };
}

/** Keeps nothing of the message that it came in. */
export function ownCopy(change: Change): Change {
  const { previous } = change;
  return {
    ...change,
    key: Buffer.from(change.key),
    value: Buffer.from(change.value),
    previous: previous && { ...previous, value: Buffer.from(previous.value) },
  };
}
