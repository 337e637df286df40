import { CairnError, timestamp, type Timestamp } from '@cairn/base';

import { LOCK_OWNERS_MAX, LOCK_WAITS_MAX } from './wire-binding.js';

/** A report counts for so long; a router sends the next one long before. */
const KEPT_MS = 1_000;
/** Routers heard in that time. */
const REPORTING_ROUTERS_MAX = 4_096;
/** Edges of all routers together. */
const EDGES_MAX = 65_536;
/** Victims that one report is answered with; the others follow with the next one. */
const VICTIMS_MAX = 32;
/** A report is refused, and the router sends the next one as it would have anyway. */
const RETRY_AFTER_MS = 100;

/** An owner of locks that waits for a lock, and the owners that are in its way. */
export interface LockWait {
  readonly waiter: Timestamp;
  readonly holders: readonly Timestamp[];
}

/** Who has to give up so that others go on. */
export interface DeadlockVictim {
  readonly owner: Timestamp;
  /**
   * Each waits for the next, and the last one for the first, which is the victim; at most 64 of them are
   * named.
   */
  readonly cycle: readonly Timestamp[];
}

interface Report {
  readonly atMs: number;
  readonly waits: readonly LockWait[];
  readonly edges: number;
}

type Graph = ReadonlyMap<Timestamp, ReadonlySet<Timestamp>>;

/**
 * Finds owners of locks that wait for each other in a circle, over all routers. Each router's report replaces
 * its last one, and counts for a second. Of each circle the youngest owner gives up, the one with the largest
 * number: whoever looks at the same waits comes to the same victims. A wait that has ended since it was
 * reported can make a circle of what is none any more; that costs an abort, and nothing rests on it.
 */
export class DeadlockDetector {
  /** In the order of their reports. */
  readonly #reports = new Map<string, Report>();
  #edges = 0;

  /** Edges that count, of all routers. */
  get edges(): number {
    return this.#edges;
  }

  reset(): void {
    this.#reports.clear();
    this.#edges = 0;
  }

  /**
   * Takes all waits of a router, and answers which of its waiters give up.
   *
   * @throws CairnError INVALID_ARGUMENT for more than a report may have, RESOURCE_EXHAUSTED when all routers
   * together have more than is kept.
   */
  report(router: string, waits: readonly LockWait[], nowMs: number): readonly DeadlockVictim[] {
    checkWaits(waits);
    this.#forget(router);
    for (const [other, { atMs }] of this.#reports) {
      if (nowMs - atMs < KEPT_MS) break;
      this.#forget(other);
    }
    if (waits.length === 0) return [];
    const edges = waits.reduce((sum, { holders }) => sum + holders.length, 0);
    if (this.#edges + edges > EDGES_MAX || this.#reports.size >= REPORTING_ROUTERS_MAX) {
      throw new CairnError('RESOURCE_EXHAUSTED', 'more waits for locks than are looked into', {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    this.#edges += edges;
    this.#reports.set(router, { atMs: nowMs, waits, edges });
    const mine = new Set(waits.map(({ waiter }) => waiter));
    return victimsOf(this.#graph(), mine).filter(({ owner }) => mine.has(owner));
  }

  #forget(router: string): void {
    this.#edges -= this.#reports.get(router)?.edges ?? 0;
    this.#reports.delete(router);
  }

  #graph(): Graph {
    const graph = new Map<Timestamp, Set<Timestamp>>();
    for (const { waits } of this.#reports.values()) {
      for (const { waiter, holders } of waits) {
        const known = graph.get(waiter) ?? new Set();
        // An owner is never in its own way; who says so says nothing.
        for (const holder of holders) if (holder !== waiter) known.add(holder);
        graph.set(waiter, known);
      }
    }
    return graph;
  }
}

function checkWaits(waits: readonly LockWait[]): void {
  if (waits.length > LOCK_WAITS_MAX) {
    throw new CairnError(
      'INVALID_ARGUMENT',
      `a report has at most ${LOCK_WAITS_MAX} waits, not ${waits.length}`,
    );
  }
  const longest = waits.find(({ holders }) => holders.length > LOCK_OWNERS_MAX);
  if (longest !== undefined) {
    throw new CairnError(
      'INVALID_ARGUMENT',
      `a wait names at most ${LOCK_OWNERS_MAX} owners, not ${longest.holders.length}`,
    );
  }
}

/** All that must give up so that nobody who can be reached from `from` waits in a circle; at most so many. */
function victimsOf(graph: Graph, from: ReadonlySet<Timestamp>): readonly DeadlockVictim[] {
  const victims: DeadlockVictim[] = [];
  const knots = knotsOf(from, (owner) => graph.get(owner) ?? []);
  for (let knot = knots.pop(); knot !== undefined && victims.length < VICTIMS_MAX; knot = knots.pop()) {
    const left = knot;
    const owner = timestamp(left.reduce<number>((youngest, each) => Math.max(youngest, each), 0));
    const within = new Set(left);
    const nextOf = (each: Timestamp): readonly Timestamp[] =>
      [...(graph.get(each) ?? [])].filter((next) => within.has(next));
    victims.push({ owner, cycle: circleOf(owner, nextOf).slice(0, LOCK_OWNERS_MAX) });
    within.delete(owner);
    knots.push(...knotsOf(within, nextOf));
  }
  return victims;
}

interface Visit {
  readonly owner: Timestamp;
  readonly next: Iterator<Timestamp>;
  readonly index: number;
  low: number;
}

/**
 * Sets of owners in which everybody waits, by some way, for everybody: strongly connected components of more
 * than one, by Tarjan's algorithm with a stack of its own.
 */
function knotsOf(
  from: ReadonlySet<Timestamp>,
  nextOf: (owner: Timestamp) => Iterable<Timestamp>,
): Timestamp[][] {
  const knots: Timestamp[][] = [];
  const visits = new Map<Timestamp, Visit>();
  const open: Timestamp[] = [];
  const isOpen = new Set<Timestamp>();
  const path: Visit[] = [];
  const enter = (owner: Timestamp): void => {
    const visit = { owner, next: nextOf(owner)[Symbol.iterator](), index: visits.size, low: visits.size };
    visits.set(owner, visit);
    open.push(owner);
    isOpen.add(owner);
    path.push(visit);
  };
  const leave = (visit: Visit): void => {
    path.pop();
    const before = path[path.length - 1];
    if (before !== undefined) before.low = Math.min(before.low, visit.low);
    if (visit.low < visit.index) return;
    const knot = open.splice(open.lastIndexOf(visit.owner));
    for (const owner of knot) isOpen.delete(owner);
    if (knot.length > 1) knots.push(knot);
  };
  for (const first of from) {
    if (visits.has(first)) continue;
    enter(first);
    for (let top = path[path.length - 1]; top !== undefined; top = path[path.length - 1]) {
      const step = top.next.next();
      if (step.done === true) {
        leave(top);
        continue;
      }
      const known = visits.get(step.value);
      if (known === undefined) enter(step.value);
      else if (isOpen.has(step.value)) top.low = Math.min(top.low, known.index);
    }
  }
  return knots;
}

/** A shortest circle from the owner to itself, inside a knot: there is one. */
function circleOf(
  owner: Timestamp,
  nextOf: (owner: Timestamp) => readonly Timestamp[],
): readonly Timestamp[] {
  const cameFrom = new Map<Timestamp, Timestamp>();
  const queue = [owner];
  for (const at of queue) {
    for (const next of nextOf(at)) {
      if (next === owner) return wayTo(at, owner, cameFrom);
      if (cameFrom.has(next)) continue;
      cameFrom.set(next, at);
      queue.push(next);
    }
  }
  return [owner];
}

function wayTo(
  last: Timestamp,
  first: Timestamp,
  cameFrom: ReadonlyMap<Timestamp, Timestamp>,
): readonly Timestamp[] {
  const way = [last];
  for (let at = last; at !== first;) {
    at = cameFrom.get(at) as Timestamp;
    way.push(at);
  }
  return way.reverse();
}
