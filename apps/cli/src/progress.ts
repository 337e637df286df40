import type { CliIo } from './io.js';
import { showCount, showDuration, showRate } from './render/units.js';

/** How often the line changes on a terminal, and how often a line is added where there is none. */
const TERMINAL_INTERVAL_MS = 200;
const LOG_INTERVAL_MS = 10_000;

export interface ProgressNow {
  readonly rows: number;
  /** Bytes done of those in `totalBytes`. */
  readonly bytes: number;
}

/** One line on standard error: rows, rate, and with a known size the part done and the time left. */
export class Progress {
  readonly #io: CliIo;
  readonly #verb: string;
  readonly #totalBytes: number | undefined;
  readonly #startedMs: number;
  readonly #start: ProgressNow;
  #shownMs: number;
  #isLineOpen = false;

  constructor(
    io: CliIo,
    verb: string,
    totalBytes: number | undefined,
    start: ProgressNow = { rows: 0, bytes: 0 },
  ) {
    this.#io = io;
    this.#verb = verb;
    this.#totalBytes = totalBytes;
    this.#start = start;
    this.#startedMs = io.nowMs();
    this.#shownMs = this.#startedMs;
  }

  get elapsedMs(): number {
    return this.#io.nowMs() - this.#startedMs;
  }

  /** Cheap to call per row; shows something only when it is time. */
  update(now: ProgressNow): void {
    const interval = this.#io.stderrIsTty ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS;
    const nowMs = this.#io.nowMs();
    if (nowMs - this.#shownMs < interval) return;
    this.#shownMs = nowMs;
    const text = this.text(now);
    if (this.#io.stderrIsTty) {
      // Carriage return and erase: the line is drawn over itself.
      this.#io.stderr.write(`\r\u001b[K${text.slice(0, Math.max(20, this.#io.columns - 1))}`);
      this.#isLineOpen = true;
    } else this.#io.stderr.write(`${text}\n`);
  }

  text(now: ProgressNow): string {
    const seconds = Math.max(0.001, this.elapsedMs / 1000);
    const rate = (now.rows - this.#start.rows) / seconds;
    const parts = [`${this.#verb} ${showCount(now.rows)} rows`, `${showRate(rate)} rows/s`];
    const total = this.#totalBytes;
    if (total !== undefined && total > 0) {
      parts.push(`${Math.floor((100 * now.bytes) / total)}%`);
      const bytesPerMs = (now.bytes - this.#start.bytes) / (seconds * 1000);
      if (bytesPerMs > 0) parts.push(`${showDuration((total - now.bytes) / bytesPerMs)} left`);
    }
    return parts.join(', ');
  }

  /** Clears the line, so that what follows stands alone. */
  clear(): void {
    if (!this.#isLineOpen) return;
    this.#isLineOpen = false;
    this.#io.stderr.write('\r\u001b[K');
  }
}
