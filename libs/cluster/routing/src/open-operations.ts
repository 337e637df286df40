import { CairnError } from '@cairn/base';

import type { RoutedOperation } from './operation.js';

/**
 * The operations of a router that have not ended, as a list through the operations themselves: adding and
 * removing one allocates nothing. The newest comes first.
 */
export class OpenOperations {
  #count = 0;
  #bytes = 0;
  #first: RoutedOperation | undefined;
  /** Somebody waits until there is none. */
  #empty: PromiseWithResolvers<void> | undefined;

  get count(): number {
    return this.#count;
  }

  /** How many bytes their requests have. */
  get bytes(): number {
    return this.#bytes;
  }

  get first(): RoutedOperation | undefined {
    return this.#first;
  }

  /** Resolves when there is none; one that is added right after is not waited for. */
  async whenEmpty(): Promise<void> {
    if (this.#count === 0) return;
    this.#empty ??= Promise.withResolvers();
    await this.#empty.promise;
  }

  add(operation: RoutedOperation): void {
    this.#count += 1;
    this.#bytes += operation.bytes;
    operation.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = operation;
    this.#first = operation;
  }

  /** Removes one that was added and not removed. */
  remove(operation: RoutedOperation): void {
    this.#count -= 1;
    this.#bytes -= operation.bytes;
    const { previous, next } = operation;
    if (previous !== undefined) previous.next = next;
    else if (this.#first === operation) this.#first = next;
    if (next !== undefined) next.previous = previous;
    operation.previous = undefined;
    operation.next = undefined;
    if (this.#count > 0 || this.#empty === undefined) return;
    this.#empty.resolve();
    this.#empty = undefined;
  }
}

/** The refusal of an operation by whoever has its share of them open. */
export function tooMany(who: string): CairnError {
  return new CairnError('RESOURCE_EXHAUSTED', `${who} has too many operations under way`, {
    retryAfterMs: 25,
  });
}

/** The end of an operation that nobody answered in time; `ranges` are those that are known. */
export function pastDeadline(ranges: number): CairnError {
  return new CairnError(
    'DEADLINE_EXCEEDED',
    ranges > 0
      ? 'the deadline passed before the cluster answered'
      : 'the deadline passed while no range was known: too few shard nodes have joined, or the metadata ' +
          'service is away',
  );
}
