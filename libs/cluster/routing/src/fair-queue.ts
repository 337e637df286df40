import type { RoutedOperation } from './operation.js';

/** What one caller has in the queue; read from `head` on, what is before it has been taken. */
interface Lane {
  operations: (RoutedOperation | undefined)[];
  head: number;
}

const anybody = (): boolean => true;

/** A lane is cut when so much of it, and half of it, has been taken. */
const CUT_MIN = 64;

/**
 * The operations that wait for room at one store. Callers take turns, whatever number each has waiting, so
 * that one who sends much makes only itself wait; those of one caller keep their order. Holds no more than
 * the router has open, and those that ended until the next sweep.
 */
export class FairQueue {
  /** In the order of turns: the first caller is next, and goes behind the others then. */
  readonly #lanes = new Map<string, Lane>();
  #length = 0;

  /** Operations in it, ended ones included. */
  get length(): number {
    return this.#length;
  }

  push(operation: RoutedOperation): void {
    this.#length += 1;
    const lane = this.#lanes.get(operation.caller);
    if (lane === undefined) this.#lanes.set(operation.caller, { operations: [operation], head: 0 });
    else lane.operations.push(operation);
  }

  /** Places that its lanes take in memory, those of operations that were taken included. */
  get places(): number {
    let places = 0;
    for (const lane of this.#lanes.values()) places += lane.operations.length;
    return places;
  }

  /**
   * The next operation that still waits here; undefined when there is none. Callers that may not go are
   * passed over and keep their turns.
   */
  next(
    isWaiting: (operation: RoutedOperation) => boolean,
    mayGo: (caller: string) => boolean = anybody,
  ): RoutedOperation | undefined {
    for (const [caller, lane] of this.#lanes) {
      if (!mayGo(caller)) continue;
      this.#lanes.delete(caller);
      const operation = this.#takeFrom(lane, isWaiting);
      if (lane.head < lane.operations.length) this.#lanes.set(caller, lane);
      if (operation !== undefined) return operation;
    }
    return undefined;
  }

  /** Drops those that do not wait here any more. */
  sweep(isWaiting: (operation: RoutedOperation) => boolean): void {
    this.#length = 0;
    for (const [caller, lane] of this.#lanes) {
      lane.operations = lane.operations
        .slice(lane.head)
        .filter((operation) => operation !== undefined && isWaiting(operation));
      lane.head = 0;
      this.#length += lane.operations.length;
      if (lane.operations.length === 0) this.#lanes.delete(caller);
    }
  }

  /** All that wait here, in the order in which they would be served; the queue is empty then. */
  takeAll(isWaiting: (operation: RoutedOperation) => boolean): RoutedOperation[] {
    const taken: RoutedOperation[] = [];
    for (let next = this.next(isWaiting); next !== undefined; next = this.next(isWaiting)) taken.push(next);
    return taken;
  }

  #takeFrom(lane: Lane, isWaiting: (operation: RoutedOperation) => boolean): RoutedOperation | undefined {
    while (lane.head < lane.operations.length) {
      const operation = lane.operations[lane.head] as RoutedOperation;
      // What was taken is kept by nobody here: a caller that always has something in the queue never empties
      // it.
      lane.operations[lane.head] = undefined;
      lane.head += 1;
      if (lane.head >= CUT_MIN && lane.head * 2 >= lane.operations.length) {
        lane.operations.splice(0, lane.head);
        lane.head = 0;
      }
      this.#length -= 1;
      if (isWaiting(operation)) return operation;
    }
    return undefined;
  }
}
