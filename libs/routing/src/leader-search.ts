import type { StoreId } from '@cairn/base';
import type { RouteEntry } from './range-cache.js';
import type { RoutedOperation } from './operation.js';

/** Operations of one range while nobody is known to lead it: one asks the replicas in turn, the others wait for it. */
interface Search {
  probe: RoutedOperation | undefined;
  readonly parked: Set<RoutedOperation>;
  cursor: number;
}

/**
 * Finds leaders without asking everybody everything: of the operations of a range without a known leader one is sent to one
 * replica after the other, and the rest follow when it found somebody. Keeps a failover of a busy range from turning every
 * open operation into a poll.
 */
export class LeaderSearch {
  readonly #searches = new Map<number, Search>();

  /** Answers the replica that the operation shall ask, or undefined when it has to wait for another one's search. */
  enter(entry: RouteEntry, operation: RoutedOperation): StoreId | undefined {
    const search = this.#of(entry);
    if (search.probe !== undefined && search.probe !== operation) {
      search.parked.add(operation);
      operation.state = 'parked';
      return undefined;
    }
    search.probe = operation;
    operation.isProbe = true;
    const voters = entry.descriptor.replicas.filter((replica) => replica.role !== 'learner');
    const next = voters[search.cursor % voters.length];
    search.cursor += 1;
    return next?.storeId;
  }

  /** The search of the range is over, or its probe gave up: answers those who waited. */
  release(rangeId: number): RoutedOperation[] {
    const search = this.#searches.get(rangeId);
    if (search === undefined) return [];
    this.#searches.delete(rangeId);
    if (search.probe !== undefined) search.probe.isProbe = false;
    return [...search.parked];
  }

  /** The operation ended: if it was the probe, the others need a new one. */
  leave(operation: RoutedOperation): RoutedOperation[] {
    const rangeId = operation.entry?.rangeId;
    if (rangeId === undefined) return [];
    const search = this.#searches.get(rangeId);
    if (search === undefined) return [];
    search.parked.delete(operation);
    if (search.probe !== operation) return [];
    operation.isProbe = false;
    search.probe = undefined;
    const parked = [...search.parked];
    search.parked.clear();
    return parked;
  }

  #of(entry: RouteEntry): Search {
    let search = this.#searches.get(entry.rangeId);
    if (search === undefined) {
      search = { probe: undefined, parked: new Set(), cursor: 0 };
      this.#searches.set(entry.rangeId, search);
    }
    return search;
  }
}
