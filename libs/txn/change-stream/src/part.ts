import type { RangeFeed } from './feed.js';
import type { Subscriber } from './subscribers.js';
import type { KeySpan, StreamEvent } from './types.js';

/** The part of a watch that one feed tells. */
export class Part implements Subscriber {
  readonly span: KeySpan;
  readonly feed: RangeFeed<Part>;
  readonly owner: PartOwner;
  /** It was let go: what comes now is for nobody. */
  isOver = false;

  constructor(owner: PartOwner, span: KeySpan, feed: RangeFeed<Part>) {
    this.owner = owner;
    this.span = span;
    this.feed = feed;
  }

  take(event: StreamEvent): void {
    if (!this.isOver) this.owner.take(event);
  }
}

/** Who put parts together. */
export interface PartOwner {
  take(event: StreamEvent): void;
  /** The feed of a part goes on as others, each from where it was. */
  replaced(part: Part, parts: readonly Part[]): void;
  /** What its parts told up to now, as far as it is resolved, is all that they tell: it is to be read anew. */
  interrupted(): void;
  /** Versions may be gone. */
  historyGone(oldest: number): void;
  failed(error: unknown): void;
}
