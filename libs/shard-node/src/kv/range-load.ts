/** Time constant of the rates. */
const RATE_WINDOW_MS = 10_000;

/** Size and traffic of one range: what splitting and the range map are decided by. Rough by design. */
export class RangeLoad {
  /** Engine bytes of the span, estimated: the engine's estimate at open plus what was applied since. */
  bytes = 0;
  /** Below this size the range is not looked at for a cut: it was when none could be found. */
  uncuttableBelowBytes = 0;
  #reads = 0;
  #writes = 0;
  #readsPerSecond = 0;
  #writesPerSecond = 0;
  #sampledAtMs: number | undefined = undefined;

  countRead(): void {
    this.#reads += 1;
  }

  countWrite(): void {
    this.#writes += 1;
  }

  countApplied(bytes: number): void {
    this.bytes += bytes;
  }

  /** Garbage collection removed this much. */
  countFreed(bytes: number): void {
    this.bytes = Math.max(0, this.bytes - bytes);
  }

  get readsPerSecond(): number {
    return this.#readsPerSecond;
  }

  get writesPerSecond(): number {
    return this.#writesPerSecond;
  }

  /** Folds what was counted since the last sample into the rates. */
  sample(nowMs: number): void {
    const sinceMs = this.#sampledAtMs === undefined ? 0 : nowMs - this.#sampledAtMs;
    this.#sampledAtMs = nowMs;
    if (sinceMs > 0) {
      const weight = 1 - Math.exp(-sinceMs / RATE_WINDOW_MS);
      this.#readsPerSecond += weight * ((this.#reads * 1000) / sinceMs - this.#readsPerSecond);
      this.#writesPerSecond += weight * ((this.#writes * 1000) / sinceMs - this.#writesPerSecond);
    }
    this.#reads = 0;
    this.#writes = 0;
  }
}
