import { CairnError, NO_BYTES, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import type { Timer } from '@cairn/ports';
import { CHANGES_BYTES_MIN, type ChangesRequest } from '@cairn/wire';

import { RangeFeed, type FeedEvents, type FeedParts, type FeedStart } from './feed.js';
import type { StreamLimits } from './limits.js';
import { Part, type PartOwner } from './part.js';
import { sharedSpan, textOf } from './spans.js';
import type { KeySpan } from './types.js';

const RETRY_AFTER_MS = 500;
/** Leaders that are asked at a time to begin to remember. */
const PRIMED_AT_A_TIME = 64;

export interface FeedsParts extends Omit<FeedParts, 'unresolvedBytesMax'> {
  readonly limits: Pick<StreamLimits, 'feedsMax' | 'lingerMs' | 'unresolvedBytesMax'>;
}

/**
 * The feeds of a router: one for each part of a range that somebody watches, however many do. Where two have
 * the same span, one was behind the other when somebody came from it. Bounded by `feedsMax`.
 */
export class Feeds {
  readonly #parts: FeedsParts;
  readonly #bySpan = new Map<string, RangeFeed<Part>[]>();
  readonly #lingering = new Map<RangeFeed<Part>, Timer>();
  readonly #advanced: () => void;
  #count = 0;

  /** `advanced`: one of them has resolved more. */
  constructor(parts: FeedsParts, advanced: () => void) {
    this.#parts = parts;
    this.#advanced = advanced;
  }

  get count(): number {
    return this.#count;
  }

  get unresolvedBytes(): number {
    let bytes = 0;
    for (const feed of this.all()) bytes += feed.unresolvedBytes;
    return bytes;
  }

  *all(): Generator<RangeFeed<Part>> {
    for (const feeds of this.#bySpan.values()) yield* feeds;
  }

  /**
   * Lets the leaders of a span's ranges remember what is changed from now on, as far as nobody watches them
   * here. A feed that then begins behind a timestamp of now is told from memory, and no leader reads its
   * whole range for it. Where that fails it is read.
   */
  async prime(span: KeySpan, withPrevious: boolean, signal: AbortSignal): Promise<void> {
    const { source } = this.#parts;
    const pieces = source.ranges(span).filter((piece) => !this.#bySpan.has(nameOf(piece, withPrevious)));
    const primeNext = async (): Promise<void> => {
      for (let piece = pieces.pop(); piece !== undefined; piece = pieces.pop()) {
        try {
          await source.ask(nothingOf(piece), { readTimestamp: timestamp(0), signal });
        } catch (error) {
          rethrowInvariant(error);
          if (!CairnError.is(error)) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(PRIMED_AT_A_TIME, pieces.length) }, primeNext));
  }

  /**
   * Takes part in the feeds of a span; those that there are none of begin behind `after`, which the oracle
   * has issued. Throws RESOURCE_EXHAUSTED; then nothing was taken part in.
   */
  attach(
    owner: PartOwner,
    span: KeySpan,
    { withPrevious, after }: { readonly withPrevious: boolean; readonly after: Timestamp },
  ): Part[] {
    const parts: Part[] = [];
    const about = { withPrevious, after, promised: timestamp(0), isIssued: true };
    try {
      for (const piece of this.#parts.source.ranges(span)) {
        const found = this.#bySpan.get(nameOf(piece, withPrevious))?.[0];
        const feed = found ?? this.#open({ ...about, span: piece }, false);
        parts.push(this.#join(owner, sharedSpan(piece, span) ?? span, feed));
      }
    } catch (error) {
      for (const part of parts) this.detach(part);
      throw error;
    }
    return parts;
  }

  detach(part: Part): void {
    if (part.isOver) return;
    part.isOver = true;
    const { feed } = part;
    feed.subscribers.delete(part);
    if (feed.subscribers.size > 0 || !this.#isOpen(feed)) return;
    const timer = this.#parts.clock.setTimer(this.#parts.limits.lingerMs, () => {
      this.#drop(feed);
    });
    this.#lingering.set(feed, timer);
  }

  close(): void {
    for (const feed of [...this.all()]) this.#drop(feed);
  }

  #join(owner: PartOwner, span: KeySpan, feed: RangeFeed<Part>): Part {
    const part = new Part(owner, span, feed);
    feed.subscribers.add(part);
    this.#lingering.get(feed)?.cancel();
    this.#lingering.delete(feed);
    return part;
  }

  #open(about: FeedStart, pausesFirst: boolean): RangeFeed<Part> {
    const { limits } = this.#parts;
    if (this.#count >= limits.feedsMax) this.#dropLingering();
    if (this.#count >= limits.feedsMax) {
      throw new CairnError(
        'RESOURCE_EXHAUSTED',
        `changes of ${limits.feedsMax} ranges are watched at this router; that is the limit`,
        { retryAfterMs: RETRY_AFTER_MS },
      );
    }
    const feed = new RangeFeed<Part>(
      { ...this.#parts, unresolvedBytesMax: limits.unresolvedBytesMax },
      about,
      this.#events,
    );
    const name = nameOf(about.span, about.withPrevious);
    const known = this.#bySpan.get(name);
    if (known === undefined) this.#bySpan.set(name, [feed]);
    else known.push(feed);
    this.#count += 1;
    feed.start(pausesFirst);
    return feed;
  }

  #dropLingering(): void {
    for (const feed of [...this.#lingering.keys()]) this.#drop(feed);
  }

  #isOpen(feed: RangeFeed<Part>): boolean {
    return this.#bySpan.get(nameOf(feed.span, feed.withPrevious))?.includes(feed) === true;
  }

  /** Its subscribers are let go; they are not told. */
  #drop(feed: RangeFeed<Part>): Part[] {
    feed.close();
    this.#lingering.get(feed)?.cancel();
    this.#lingering.delete(feed);
    const name = nameOf(feed.span, feed.withPrevious);
    const known = this.#bySpan.get(name) ?? [];
    const left = known.filter((each) => each !== feed);
    if (left.length < known.length) this.#count -= 1;
    if (left.length > 0) this.#bySpan.set(name, left);
    else this.#bySpan.delete(name);
    const parts = feed.subscribers.all();
    for (const part of parts) {
      feed.subscribers.delete(part);
      part.isOver = true;
    }
    return parts;
  }

  readonly #events: FeedEvents<Part> = {
    advanced: () => {
      this.#advanced();
    },
    regroup: (feed) => {
      this.#regroup(feed);
    },
    overflowed: (feed) => {
      for (const { owner } of this.#drop(feed)) owner.interrupted();
    },
    reset: (feed, oldest) => {
      for (const { owner } of this.#drop(feed)) owner.historyGone(oldest);
    },
    failed: (feed, error) => {
      for (const { owner } of this.#drop(feed)) owner.failed(error);
    },
  };

  /** Goes on in the ranges of now, from what is resolved. */
  #regroup(feed: RangeFeed<Part>): void {
    const left = this.#drop(feed);
    const { withPrevious, resolved, promised } = feed;
    const about = { withPrevious, after: resolved, promised, isIssued: false };
    const pieces = left.length === 0 ? [] : this.#parts.source.ranges(feed.span);
    const isSame = pieces.length === 1;
    const next = new Map<KeySpan, RangeFeed<Part>>();
    for (const part of left) {
      const parts: Part[] = [];
      try {
        for (const piece of pieces) {
          const span = sharedSpan(piece, part.span);
          if (span === undefined) continue;
          const successor = next.get(piece) ?? this.#successor({ ...about, span: piece }, isSame);
          next.set(piece, successor);
          parts.push(this.#join(part.owner, span, successor));
        }
      } catch (error) {
        if (!CairnError.is(error)) throw error;
        for (const joined of parts) this.detach(joined);
        part.owner.failed(error);
        continue;
      }
      part.owner.replaced(part, parts);
    }
  }

  /** One that there is already, if it is not ahead: what it tells is whole from there on. */
  #successor(about: FeedStart, pausesFirst: boolean): RangeFeed<Part> {
    const known = this.#bySpan.get(nameOf(about.span, about.withPrevious));
    return known?.find(({ resolved }) => resolved <= about.after) ?? this.#open(about, pausesFirst);
  }
}

/** Asks for what comes behind all timestamps. */
function nothingOf({ start, end }: KeySpan): ChangesRequest {
  return {
    ...{ start, end, after: timestamp(Number.MAX_SAFE_INTEGER), index: 0, rangeId: 0, resume: NO_BYTES },
    ...{ withPrevious: false, waitMs: 0, bytesMax: CHANGES_BYTES_MIN },
  };
}

function nameOf({ start, end }: KeySpan, withPrevious: boolean): string {
  return `${withPrevious ? 1 : 0}.${start.length}.${textOf(start)}${textOf(end)}`;
}
