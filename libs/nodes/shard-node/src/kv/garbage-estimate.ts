import type { Timestamp } from '@cairn/base';

/** Parts that the life of old versions is divided into; bytes ripen within one part of the life too late. */
const PARTS = 4;
/** A pass is worth it from this much garbage on, below it only once in a while … */
const WORTH_BYTES = 1024 * 1024;
/** … and from this share of the range. */
const WORTH_SHARE = 0.05;
/** Lives after which a range with any sign of garbage is passed over anyway. */
const SWEEP_LIVES = 6;
/** Share of overwritten bytes that is assumed before the first pass, and at least. */
const RATIO_FIRST = 0.5;
const RATIO_MIN = 0.02;

/**
 * How much of one range could be collected, guessed from what is applied, without looking at a row. Deletions
 * are garbage for sure; what share of the plain writes replaced something is learned from each pass. Bytes
 * count once they are older than old versions are kept.
 *
 * After a restart nothing is known, so the range gets one pass in its turn.
 */
export class GarbageEstimate {
  /** Bytes of the present part of the life, and of those before it, the latest first. */
  #deletedNow = 0;
  #plainNow = 0;
  readonly #deleted: number[] = new Array<number>(PARTS).fill(0);
  readonly #plain: number[] = new Array<number>(PARTS).fill(0);
  #ripeDeleted = 0;
  #ripePlain = 0;
  #partSince = 0;
  #sweptAt = 0;
  #ratio = RATIO_FIRST;
  /** Rows with an expiry were seen: they turn into garbage without another write. */
  #hasExpiring = false;
  #isUnknown: boolean;

  /** `isUnknown`: rows may be there that this object has not seen applied. */
  constructor(isUnknown: boolean) {
    this.#isUnknown = isUnknown;
  }

  applied(deletedBytes: number, plainBytes: number, hasExpiring: boolean): void {
    this.#deletedNow += deletedBytes;
    this.#plainNow += plainBytes;
    if (hasExpiring) this.#hasExpiring = true;
  }

  /** Time passes: `now` is the newest oracle timestamp, `lifeSteps` how long old versions are kept. */
  tick(now: Timestamp, lifeSteps: number): void {
    if (this.#partSince === 0) {
      this.#partSince = now;
      this.#sweptAt = now;
    }
    const partSteps = Math.max(1, Math.floor(lifeSteps / PARTS));
    for (let part = 0; part <= PARTS && now - this.#partSince >= partSteps; part += 1) {
      this.#ripeDeleted += this.#deleted.pop() ?? 0;
      this.#ripePlain += this.#plain.pop() ?? 0;
      this.#deleted.unshift(this.#deletedNow);
      this.#plain.unshift(this.#plainNow);
      this.#deletedNow = 0;
      this.#plainNow = 0;
      this.#partSince += partSteps;
    }
    // Everything is ripe after as many parts; a longer silence needs no more.
    if (now - this.#partSince >= partSteps) this.#partSince = now;
  }

  /** Bytes that a pass would probably free. */
  get ripeBytes(): number {
    return this.#ripeDeleted + this.#ripePlain * this.#ratio;
  }

  /**
   * How badly the range wants a pass: undefined = not now, 0 = when nobody else does, above: garbage per live
   * byte.
   */
  urgency(now: Timestamp, lifeSteps: number, rangeBytes: number): number | undefined {
    const ripe = this.ripeBytes;
    if (ripe >= Math.max(WORTH_BYTES, rangeBytes * WORTH_SHARE)) return ripe / Math.max(rangeBytes, 1);
    const isSuspect = ripe > 0 || this.#isUnknown || this.#hasExpiring;
    const waitSteps = lifeSteps * (this.#isUnknown ? 1 : SWEEP_LIVES);
    return isSuspect && now - this.#sweptAt >= waitSteps ? 0 : undefined;
  }

  /** The whole range was looked at. */
  passed(now: Timestamp, freedBytes: number, hasExpiring: boolean): void {
    if (this.#ripePlain > 0) {
      const found = (freedBytes - this.#ripeDeleted) / this.#ripePlain;
      this.#ratio = (this.#ratio + Math.min(1, Math.max(RATIO_MIN, found))) / 2;
    }
    this.#ripeDeleted = 0;
    this.#ripePlain = 0;
    this.#sweptAt = now;
    this.#hasExpiring = hasExpiring;
    this.#isUnknown = false;
  }
}
