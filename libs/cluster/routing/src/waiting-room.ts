import type { Clock, Rng, Timer } from '@cairn/ports';

import { backoffMs, type BackoffRule } from './backoff.js';
import type { RoutedOperation } from './operation.js';

/** Waits are looked at this often while something waits. */
const WAKE_INTERVAL_MS = 3;

/** Operations that back off; as many as the router has open at most. One timer serves all. */
export class WaitingRoom {
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #due: (operation: RoutedOperation) => void;
  #waiting: RoutedOperation[] = [];
  #timer: Timer | undefined;

  constructor(
    ports: { readonly clock: Clock; readonly rng: Rng },
    due: (operation: RoutedOperation) => void,
  ) {
    this.#clock = ports.clock;
    this.#rng = ports.rng;
    this.#due = due;
  }

  /** `due` is called with the operation after a while, unless it has ended then. */
  enter(operation: RoutedOperation, rule: BackoffRule, atLeastMs: number): void {
    if (operation.state === 'done') return;
    operation.state = 'waiting';
    operation.detach();
    const pauseMs = Math.max(atLeastMs, backoffMs(rule, operation.attempts, this.#rng));
    operation.wakeAtMs = this.#clock.nowMs() + pauseMs;
    this.#waiting.push(operation);
    this.#look();
  }

  close(): void {
    this.#timer?.cancel();
    this.#waiting = [];
  }

  #look(): void {
    this.#timer ??= this.#clock.setTimer(WAKE_INTERVAL_MS, () => {
      this.#timer = undefined;
      this.#wake();
    });
  }

  #wake(): void {
    const nowMs = this.#clock.nowMs();
    const waiting = this.#waiting;
    this.#waiting = [];
    const due: RoutedOperation[] = [];
    for (const operation of waiting) {
      if (operation.state !== 'waiting') continue;
      if (operation.wakeAtMs <= nowMs) due.push(operation);
      else this.#waiting.push(operation);
    }
    for (const operation of due) this.#due(operation);
    if (this.#waiting.length > 0) this.#look();
  }
}
