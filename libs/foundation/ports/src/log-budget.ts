import type { Clock, Timer } from './clock.js';
import type { LogFields, Logger } from './telemetry.js';

export interface LogBudgetOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The event of the line; it also begins the line that counts those left out. */
  readonly event: string;
  readonly level?: 'info' | 'warn';
  /** Lines of one interval that are written. Default 5. */
  readonly linesPerInterval?: number;
  /** Default 10,000. */
  readonly intervalMs?: number;
}

/**
 * A line of the log that input can cause, so often as it pleases: the first few of an interval are written,
 * the others are counted, and one line at its end says how many. Time is looked at only when a line is due.
 */
export class LogBudget {
  readonly #options: LogBudgetOptions;
  readonly #linesMax: number;
  readonly #intervalMs: number;
  #beganMs = -Infinity;
  #lines = 0;
  #leftOut = 0;
  #timer: Timer | undefined;

  constructor(options: LogBudgetOptions) {
    this.#options = options;
    this.#linesMax = options.linesPerInterval ?? 5;
    this.#intervalMs = options.intervalMs ?? 10_000;
  }

  write(fields: LogFields): void {
    const nowMs = this.#options.clock.nowMs();
    if (nowMs - this.#beganMs >= this.#intervalMs) {
      this.#summarise();
      this.#beganMs = nowMs;
      this.#lines = 0;
    }
    if (this.#lines < this.#linesMax) {
      this.#lines += 1;
      this.#write(this.#options.event, fields);
      return;
    }
    this.#leftOut += 1;
    this.#timer ??= this.#options.clock.setTimer(this.#beganMs + this.#intervalMs - nowMs, () => {
      this.#summarise();
    });
  }

  #summarise(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const count = this.#leftOut;
    this.#leftOut = 0;
    if (count > 0) this.#write(`${this.#options.event}: more of them`, { count });
  }

  #write(event: string, fields: LogFields): void {
    const { level, logger } = this.#options;
    if (level === 'info') logger.info(event, fields);
    else logger.warn(event, fields);
  }
}
