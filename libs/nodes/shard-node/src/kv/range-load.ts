/** Time constant of the rates. */
const RATE_WINDOW_MS = 10_000;
/** Rates below this count as none, per second. */
const RATE_MIN = 0.001;
/** Size and rates are told at most this often, */
const TELL_INTERVAL_MIN_MS = 5_000;
/** and at least this often. */
const TELL_INTERVAL_MAX_MS = 60_000;
/** A value is told anew only when it differs by this part from the one told last. */
const TELL_PART = 0.01;

/** Size and traffic of one range: what splitting and the range map are decided by. Rough by design. */
export class RangeLoad {
  /** Engine bytes of the span, estimated: the engine's estimate at open plus what was applied since. */
  bytes = 0;
  /** Below this size the range is not looked at for a cut: it was when none could be found. */
  unsplittableBelowBytes = 0;
  #reads = 0;
  #writes = 0;
  #readsPerSecond = 0;
  #writesPerSecond = 0;
  #sampledAtMs: number | undefined = undefined;
  #toldAtMs: number | undefined = undefined;
  #bytesTold = 0;
  #readsTold = 0;
  #writesTold = 0;

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
      this.#readsPerSecond = rateAfter(this.#readsPerSecond, this.#reads, sinceMs);
      this.#writesPerSecond = rateAfter(this.#writesPerSecond, this.#writes, sinceMs);
    }
    this.#reads = 0;
    this.#writes = 0;
  }

  /** Whether the metadata service is to hear of size and rates again: they changed, or it was long ago. */
  isWorthTelling(nowMs: number): boolean {
    if (this.#toldAtMs === undefined) return true;
    const sinceMs = nowMs - this.#toldAtMs;
    if (sinceMs < TELL_INTERVAL_MIN_MS) return false;
    return (
      sinceMs >= TELL_INTERVAL_MAX_MS ||
      differs(this.bytes, this.#bytesTold) ||
      differs(this.#readsPerSecond, this.#readsTold) ||
      differs(this.#writesPerSecond, this.#writesTold)
    );
  }

  /** They are being told. */
  told(nowMs: number): void {
    this.#toldAtMs = nowMs;
    this.#bytesTold = this.bytes;
    this.#readsTold = this.#readsPerSecond;
    this.#writesTold = this.#writesPerSecond;
  }
}

/** The rate after `count` events in the last `sinceMs`. */
function rateAfter(perSecond: number, count: number, sinceMs: number): number {
  if (perSecond === 0 && count === 0) return 0;
  const weight = 1 - Math.exp(-sinceMs / RATE_WINDOW_MS);
  const after = perSecond + weight * ((count * 1000) / sinceMs - perSecond);
  return after < RATE_MIN ? 0 : after;
}

function differs(value: number, told: number): boolean {
  return Math.abs(value - told) > told * TELL_PART;
}
