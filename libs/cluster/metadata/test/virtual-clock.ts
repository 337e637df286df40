import type { Clock, Rng, Timer } from '@cairn/ports';

interface Pending {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Time that moves only when a test says so. `defer` counts as due at once. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  /** Wall clock = monotonic clock + this. Tests move it at will. */
  wallOffsetMs: number;
  #order = 0;
  #pending: Pending[] = [];

  constructor(startUnixMs: number) {
    this.wallOffsetMs = startUnixMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return this.#nowMs + this.wallOffsetMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const entry = { dueMs: this.#nowMs + delayMs, order: (this.#order += 1), callback };
    this.#pending.push(entry);
    return {
      cancel: () => {
        this.#pending = this.#pending.filter((other) => other !== entry);
      },
    };
  }

  defer(callback: () => void): void {
    this.setTimer(0, callback);
  }

  /** Lets everything happen that falls into the next `ms` milliseconds, promises included. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      let next: Pending | undefined;
      for (const entry of this.#pending) {
        if (entry.dueMs > endMs) continue;
        if (
          next === undefined ||
          entry.dueMs < next.dueMs ||
          (entry.dueMs === next.dueMs && entry.order < next.order)
        ) {
          next = entry;
        }
      }
      if (next === undefined) break;
      this.#pending = this.#pending.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** Advances in small steps until the promise is settled; fails after `limitMs`. */
  async until<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let isSettled = false;
    const done = (): void => {
      isSettled = true;
    };
    promise.then(done, done);
    const limit = this.#nowMs + limitMs;
    for (;;) {
      await settle();
      if (isSettled) return promise;
      if (this.#nowMs >= limit) throw new Error(`not settled after ${limitMs} virtual ms`);
      await this.advance(1);
    }
  }
}

/** Lets chains of promises run out. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 60; i += 1) await Promise.resolve();
}

/** A small seeded generator (mulberry32). */
export function seededRng(seed: number): Rng {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    integer: (bound) => Math.floor(next() * bound),
    bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)),
  };
}
