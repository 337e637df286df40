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
 * Bounded: two generations of at most 32,768, each as long as the request window (20 s of oracle time), so a
 * first sending that is delayed by less is always caught.
 */
export class AdmittedRetries {
  #young = new Set<string>();
  #old = new Set<string>();
  #youngSince = 0;

  add(client: number, sequence: number, now: Timestamp): void {
    this.#rotate(now);
    this.#young.add(`${client}/${sequence}`);
  }

  has(client: number, sequence: number, now: Timestamp): boolean {
    if (this.#young.size === 0 && this.#old.size === 0) return false;
    this.#rotate(now);
    const name = `${client}/${sequence}`;
    return this.#young.has(name) || this.#old.has(name);
  }

  #rotate(now: Timestamp): void {
    if (now - this.#youngSince < GENERATION_STEPS && this.#young.size < GENERATION_MAX) return;
    this.#old = this.#young;
    this.#young = new Set();
    this.#youngSince = now;
  }
}
