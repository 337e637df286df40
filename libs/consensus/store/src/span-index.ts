import { assert, type RangeDescriptor } from '@cairn/base';

import { covers, overlap } from './range-spans.js';

/** What the index needs to know of a replica. */
export interface Spanned {
  readonly descriptor: RangeDescriptor;
}

/**
 * The replicas of a store that have a descriptor, in the order of their spans, which never overlap. Keeps
 * looking up a key cheap on a store with ten thousand ranges: messages for ranges that are not here yet ask
 * for each of them.
 */
export class SpanIndex<Replica extends Spanned> {
  /** Ascending by start key. */
  readonly #replicas: Replica[] = [];

  get size(): number {
    return this.#replicas.length;
  }

  /** The replica has a descriptor from now on; told again when its start key changed. */
  add(replica: Replica): void {
    this.#replicas.splice(this.#countStartingUpTo(replica.descriptor.startKey), 0, replica);
  }

  /** Before the descriptor changes, or the replica goes. */
  remove(replica: Replica): void {
    const at = this.#countStartingUpTo(replica.descriptor.startKey) - 1;
    assert(this.#replicas[at] === replica, 'a replica is indexed by its start key', {
      range: replica.descriptor.rangeId,
    });
    this.#replicas.splice(at, 1);
  }

  /** The replica whose span covers the key. */
  covering(key: Uint8Array): Replica | undefined {
    const found = this.#replicas[this.#countStartingUpTo(key) - 1];
    return found !== undefined && covers(found.descriptor, key) ? found : undefined;
  }

  /** A replica of another range that shares keys with the span. */
  overlapping(span: RangeDescriptor): Replica | undefined {
    return this.#overlapping(span, 1)[0];
  }

  /** All of them. */
  allOverlapping(span: RangeDescriptor): Replica[] {
    return this.#overlapping(span, Infinity);
  }

  #overlapping(span: RangeDescriptor, most: number): Replica[] {
    const found: Replica[] = [];
    const first = Math.max(0, this.#countStartingUpTo(span.startKey) - 1);
    for (let at = first; at < this.#replicas.length && found.length < most; at += 1) {
      const replica = this.#replicas[at] as Replica;
      const { descriptor } = replica;
      if (span.endKey.length > 0 && Buffer.compare(descriptor.startKey, span.endKey) >= 0) break;
      if (descriptor.rangeId !== span.rangeId && overlap(descriptor, span)) found.push(replica);
    }
    return found;
  }

  #countStartingUpTo(key: Uint8Array): number {
    let low = 0;
    let high = this.#replicas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { startKey } = (this.#replicas[middle] as Replica).descriptor;
      if (Buffer.compare(startKey, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
