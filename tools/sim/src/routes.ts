import type { RangeDescriptor, RangeId } from '@cairn/base';

function covers(descriptor: RangeDescriptor, key: Uint8Array): boolean {
  return (
    Buffer.compare(key, descriptor.startKey) >= 0 &&
    (descriptor.endKey.length === 0 || Buffer.compare(key, descriptor.endKey) < 0)
  );
}

function overlap(one: RangeDescriptor, other: RangeDescriptor): boolean {
  return (
    (one.endKey.length === 0 || Buffer.compare(other.startKey, one.endKey) < 0) &&
    (other.endKey.length === 0 || Buffer.compare(one.startKey, other.endKey) < 0)
  );
}

/**
 * What a client believes about ranges and their leaders; repaired from errors. Few ranges: searched linearly.
 */
export class Routes {
  #ranges: RangeDescriptor[] = [];
  readonly #leaders = new Map<RangeId, number>();

  at(key: Uint8Array): RangeDescriptor | undefined {
    return this.#ranges.find((descriptor) => covers(descriptor, key));
  }

  all(): readonly RangeDescriptor[] {
    return this.#ranges;
  }

  leaderOf(range: RangeId): number | undefined {
    return this.#leaders.get(range);
  }

  setLeader(range: RangeId, storeId: number): void {
    this.#leaders.set(range, storeId);
  }

  forgetLeader(range: RangeId): void {
    this.#leaders.delete(range);
  }

  /** Believes a store, unless something newer is known of the span. */
  learn(descriptors: readonly RangeDescriptor[]): void {
    for (const learnt of descriptors) {
      const others = this.#ranges.filter((known) => overlap(known, learnt));
      if (others.some((known) => known.epoch.version > learnt.epoch.version)) continue;
      this.#ranges = this.#ranges.filter((known) => !others.includes(known));
      this.#ranges.push(learnt);
    }
  }

  /** Nobody has this range any more. */
  forget(range: RangeId): void {
    this.#ranges = this.#ranges.filter((known) => known.rangeId !== range);
  }
}
