/** Calls that must have passed their deadline on a stream that said nothing meanwhile. */
const EXPIRED_MIN = 3;
/** And how long it must have said nothing: short deadlines alone are no sign of a router that hangs. */
const SILENT_MS_MIN = 1_000;

/**
 * Tells a router that hangs from calls that take long: one that answers nothing at all, while call after call
 * passes its deadline there, is given up for another one. Knows no clock.
 */
export class RouterSilence {
  #heardAtMs = 0;
  /** When the first of the expired calls was sent: without anything to answer a router says nothing. */
  #askedAtMs = 0;
  #expired = 0;

  /** A message came, or the stream has just begun. */
  heard(nowMs: number): void {
    this.#heardAtMs = nowMs;
    this.#expired = 0;
  }

  /** A call that was sent passed its deadline. */
  expired(sentAtMs: number): void {
    if (this.#expired === 0 || sentAtMs < this.#askedAtMs) this.#askedAtMs = sentAtMs;
    this.#expired += 1;
  }

  isSilent(nowMs: number): boolean {
    return (
      this.#expired >= EXPIRED_MIN && nowMs - Math.max(this.#heardAtMs, this.#askedAtMs) >= SILENT_MS_MIN
    );
  }
}
