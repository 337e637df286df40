import { TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { REQUEST_WINDOW_MS } from '@cairn/mvcc';

/** Retries kept per generation; when more come sooner, the older ones are forgotten early. */
const GENERATION_MAX = 32_768;
const GENERATION_STEPS = REQUEST_WINDOW_MS * TIMESTAMP_LOGICAL_STEPS;

/**
 * The commands whose retry this leader took for new. Their first sending may still be on its way, or wait
 * here for its row: when it comes it must be looked for among what happened already. First sendings ask only
 * while there are such retries.
 *
 * Bounded: two generations of at most 32,768, each as long as the request window (20 s of oracle time). What
 * was dropped is known by time: a retry was admitted after its stamp, so a sending with a stamp above
 * `forgottenUpTo` has no retry among the dropped ones.
 */
export class AdmittedRetries {
  #young = new Set<string>();
  #old = new Set<string>();
  #youngSince = 0;
  #forgottenUpTo = 0;

  /** Retries that were admitted above this timestamp are all remembered. */
  get forgottenUpTo(): number {
    return this.#forgottenUpTo;
  }

  add(client: number, sequence: number, now: Timestamp): void {
    this.#rotate(now);
    this.#young.add(`${client}/${sequence}`);
  }

  has(client: number, sequence: number): boolean {
    if (this.#young.size === 0 && this.#old.size === 0) return false;
    const name = `${client}/${sequence}`;
    return this.#young.has(name) || this.#old.has(name);
  }

  #rotate(now: Timestamp): void {
    if (now - this.#youngSince < GENERATION_STEPS && this.#young.size < GENERATION_MAX) return;
    // The old ones were admitted before the young ones began.
    if (this.#old.size > 0) this.#forgottenUpTo = this.#youngSince;
    this.#old = this.#young;
    this.#young = new Set();
    this.#youngSince = now;
  }
}
