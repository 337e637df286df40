import { rethrowInvariant, timestamp } from '@cairn/base';
import { sleep, type Clock } from '@cairn/ports';

import { isPassing } from './retries.js';
import type { ChangesSource } from './types.js';
import type { Watcher } from './watcher.js';

/** Between two rounds: at least so long, and twice as long while a round changes nothing. */
const PAUSE_MS_MIN = 5;
const PAUSE_MS_MAX = 100;

/**
 * Changes of one range wait until all ranges of their watch are resolved there. Idle ranges are, as soon as
 * their leaders hear of a later timestamp: this takes one and brings it to those that are behind. One round
 * at a time.
 */
export class Nudges {
  readonly #parts: { readonly source: ChangesSource; readonly clock: Clock };
  /** Live, with changes that wait. */
  readonly #waiting = new Set<Watcher>();
  readonly #over = new AbortController();
  #isRunning = false;

  constructor(parts: { readonly source: ChangesSource; readonly clock: Clock }) {
    this.#parts = parts;
  }

  add(watcher: Watcher): void {
    this.#waiting.add(watcher);
  }

  delete(watcher: Watcher): void {
    this.#waiting.delete(watcher);
  }

  /** Ranges are resolved further: lets those through that wait for no other, and looks after the rest. */
  settle(): void {
    for (const watcher of this.#waiting) if (watcher.resolve()) this.#waiting.delete(watcher);
    if (this.#waiting.size === 0 || this.#isRunning || this.#over.signal.aborted) return;
    this.#isRunning = true;
    this.#run()
      .catch(rethrowUnlessClosed)
      .finally(() => {
        this.#isRunning = false;
      })
      .catch(rethrowInvariant);
  }

  close(): void {
    this.#over.abort();
    this.#waiting.clear();
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#over;
    let pauseMs = PAUSE_MS_MIN;
    while (this.#waiting.size > 0 && !signal.aborted) {
      const hasChanged = await this.#round();
      pauseMs = hasChanged ? PAUSE_MS_MIN : Math.min(PAUSE_MS_MAX, 2 * pauseMs);
      try {
        await sleep(clock, pauseMs, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }

  /** Answers whether somebody was asked who had been behind before. */
  async #round(): Promise<boolean> {
    let fresh;
    try {
      fresh = await this.#parts.source.timestamp();
    } catch (error) {
      rethrowInvariant(error);
      if (!isPassing(error)) throw error;
      return false;
    }
    let hasAsked = false;
    for (const watcher of this.#waiting) {
      const newest = timestamp(Math.min(fresh, watcher.newestUnresolved));
      for (const { feed } of watcher.parts) {
        if (feed.promised >= newest) continue;
        hasAsked = feed.want(fresh) || hasAsked;
      }
    }
    return hasAsked;
  }
}

function rethrowUnlessClosed(error: unknown): void {
  rethrowInvariant(error);
  if (!isPassing(error)) throw error;
}
