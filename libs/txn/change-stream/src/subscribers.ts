import { isWithin, onlyKeyOf, textOf } from './spans.js';
import type { KeySpan, StreamEvent } from './types.js';

/** Who takes the changes of a feed that lie in a span. */
export interface Subscriber {
  readonly span: KeySpan;
  take(event: StreamEvent): void;
}

/**
 * Those who listen to one feed. Who watches a single key is found by it: many thousands of them cost nothing
 * for the changes of other keys.
 */
export class Subscribers<S extends Subscriber> {
  readonly #byKey = new Map<string, Set<S>>();
  readonly #spans = new Set<S>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(subscriber: S): void {
    this.#size += 1;
    const key = onlyKeyOf(subscriber.span);
    if (key === undefined) {
      this.#spans.add(subscriber);
      return;
    }
    const text = textOf(key);
    const known = this.#byKey.get(text);
    if (known === undefined) this.#byKey.set(text, new Set([subscriber]));
    else known.add(subscriber);
  }

  delete(subscriber: S): void {
    const key = onlyKeyOf(subscriber.span);
    const text = key === undefined ? '' : textOf(key);
    const group = key === undefined ? this.#spans : this.#byKey.get(text);
    if (group?.delete(subscriber) !== true) return;
    this.#size -= 1;
    if (key !== undefined && group.size === 0) this.#byKey.delete(text);
  }

  /** All of them, in a list of its own. */
  all(): S[] {
    return [...this.#spans, ...[...this.#byKey.values()].flatMap((group) => [...group])];
  }

  /** Those who take changes of the key. */
  of(key: Uint8Array): S[] {
    const found = this.#byKey.size === 0 ? [] : [...(this.#byKey.get(textOf(key)) ?? [])];
    for (const subscriber of this.#spans) if (isWithin(key, subscriber.span)) found.push(subscriber);
    return found;
  }
}
