import { assert } from '@cairn/base';

import { Search, type RoutedOperation } from './operation.js';

/**
 * Finds leaders without asking everybody everything: of the operations of a range without a known leader one
 * is sent to one replica after the other, and the rest follow when it found somebody. Keeps a failover of a
 * busy range from turning every open operation into a poll.
 *
 * Invariants: an operation is in at most one search, the one its `search` names; every search has a probe,
 * and the probe is never `parked` after its owner has routed it. Whoever takes a probe away hands the search
 * to a successor, so parked operations always have somebody who acts for them. Costs nothing while leaders
 * are known.
 */
export class LeaderSearch {
  readonly #searches = new Map<number, Search>();

  /** Searches under way. */
  get size(): number {
    return this.#searches.size;
  }

  /** True when the operation shall ask a replica; false when it is parked behind one that does. */
  enter(rangeId: number, operation: RoutedOperation): boolean {
    const search = this.#searches.get(rangeId);
    assert(
      operation.search === undefined || operation.search === search,
      'an operation is in one search only',
    );
    if (search === undefined) {
      operation.search = new Search(rangeId, operation);
      this.#searches.set(rangeId, operation.search);
      return true;
    }
    if (search.probe === operation) return true;
    search.parked.add(operation);
    operation.detach();
    operation.search = search;
    operation.state = 'parked';
    return false;
  }

  /**
   * The leader of the range is found: ends the search and answers those who waited, to be routed by the
   * caller.
   */
  release(rangeId: number): readonly RoutedOperation[] {
    const search = this.#searches.get(rangeId);
    if (search === undefined) return [];
    this.#searches.delete(rangeId);
    search.probe.search = undefined;
    const parked = [...search.parked];
    for (const operation of parked) operation.search = undefined;
    return parked;
  }

  /**
   * The operation ended, or belongs to another range now. When it was the probe and others wait, the one that
   * has waited longest becomes the probe and is answered: the caller must route it.
   */
  leave(operation: RoutedOperation): RoutedOperation | undefined {
    const { search } = operation;
    if (search === undefined) return undefined;
    operation.search = undefined;
    if (search.probe !== operation) {
      search.parked.delete(operation);
      return undefined;
    }
    for (const successor of search.parked) {
      search.parked.delete(successor);
      search.probe = successor;
      return successor;
    }
    this.#searches.delete(search.rangeId);
    return undefined;
  }
}
