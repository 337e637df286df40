import { SimRng } from '@cairn/runtime-sim';

import type { Action, Operation } from './history.js';

/** States visited before a key is given up as too hard to decide. */
const STATES_MAX = 2_000_000;

export type LinearizabilityResult =
  | { readonly type: 'linearizable' }
  /**
   * No order explains the operations; `upTo` is the shortest prefix (by time of return) that cannot be
   * explained.
   */
  | { readonly type: 'violated'; readonly key: string; readonly upTo: readonly Operation[] }
  | { readonly type: 'undecided'; readonly key: string };

interface Item {
  readonly operation: Operation;
  readonly isUnknown: boolean;
  /**
   * Unknown operations with the same effect are interchangeable: only the one invoked first need be tried.
   */
  readonly twinBefore: number;
}

/** The state after the action, or `impossible` when its answer contradicts the state. */
function step(
  state: string | undefined,
  action: Action,
  isUnknown: boolean,
): string | undefined | typeof IMPOSSIBLE {
  switch (action.f) {
    case 'write':
      return action.value;
    case 'read':
      return action.value === state ? state : IMPOSSIBLE;
    case 'cas': {
      const holds = state === action.expected;
      if (isUnknown) return holds ? action.value : state;
      if (action.succeeded) return holds ? action.value : IMPOSSIBLE;
      return !holds && state === action.found ? state : IMPOSSIBLE;
    }
    case 'add': {
      const sum = String(Number(state ?? '0') + action.delta);
      return isUnknown || sum === action.result ? sum : IMPOSSIBLE;
    }
  }
}

const IMPOSSIBLE = Symbol('impossible');

/**
 * Values that some answer mentions: an unknown write of any other value leaves no trace and need not be
 * tried.
 */
function observedValues(operations: readonly Operation[]): Set<string | undefined> {
  const seen = new Set<string | undefined>();
  for (const { action, returnedMs } of operations) {
    if (action.f === 'read') seen.add(action.value);
    if (action.f === 'cas') {
      // Also of an unknown one: it may have changed something because the value was there.
      seen.add(action.expected);
      if (returnedMs !== Number.POSITIVE_INFINITY) seen.add(action.found);
    }
    // A sum depends on everything before it.
    if (action.f === 'add') return new Set([...operations].flatMap(valuesWritten));
  }
  return seen;
}

function valuesWritten({ action }: Operation): (string | undefined)[] {
  return action.f === 'write' || action.f === 'cas' ? [action.value] : [];
}

function prepare(operations: readonly Operation[]): Item[] {
  const seen = observedValues(operations);
  const kept = operations.filter(({ action, returnedMs }) => {
    if (returnedMs !== Number.POSITIVE_INFINITY) return true;
    if (action.f === 'write' || action.f === 'cas') return seen.has(action.value);
    return action.f === 'add';
  });
  const sorted = [...kept].sort((a, b) => a.invokedMs - b.invokedMs);
  const lastTwin = new Map<string, number>();
  return sorted.map((operation, at) => {
    const isUnknown = operation.returnedMs === Number.POSITIVE_INFINITY;
    if (!isUnknown) return { operation, isUnknown, twinBefore: -1 };
    const effect = JSON.stringify(operation.action, (name, value: unknown) =>
      name === 'result' ? 0 : (value ?? null),
    );
    const twinBefore = lastTwin.get(effect) ?? -1;
    lastTwin.set(effect, at);
    return { operation, isUnknown, twinBefore };
  });
}

/**
 * Items not linearized yet, in order of invocation; taking one out and putting it back is O(1), last out
 * first in.
 */
class OpenItems {
  readonly #items: readonly Item[];
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #isDone: Uint8Array;
  readonly #marks: Int32Array;
  /** Two independent sums over the linearized set: its fingerprint. */
  #low = 0;
  #high = 0;

  constructor(items: readonly Item[]) {
    const count = items.length;
    this.#items = items;
    // Slot 0 is the head, item `at` has slot `at + 1`.
    this.#next = Int32Array.from({ length: count + 1 }, (_, at) => (at === count ? 0 : at + 1));
    this.#previous = Int32Array.from({ length: count + 1 }, (_, at) => (at === 0 ? count : at - 1));
    this.#isDone = new Uint8Array(count);
    const rng = new SimRng('fingerprints');
    this.#marks = Int32Array.from({ length: count * 2 }, () => rng.uint32() | 0);
  }

  take(at: number): void {
    const slot = at + 1;
    const [before, after] = [this.#previous[slot] as number, this.#next[slot] as number];
    this.#next[before] = after;
    this.#previous[after] = before;
    this.#flip(at, 1);
  }

  putBack(at: number): void {
    const slot = at + 1;
    this.#next[this.#previous[slot] as number] = slot;
    this.#previous[this.#next[slot] as number] = slot;
    this.#flip(at, 0);
  }

  #flip(at: number, isDone: number): void {
    this.#isDone[at] = isDone;
    this.#low ^= this.#marks[at * 2] as number;
    this.#high ^= this.#marks[at * 2 + 1] as number;
  }

  /** Equal for equal sets; different ones collide with a chance of 2^-64. */
  get fingerprint(): string {
    return `${this.#low}:${this.#high}`;
  }

  /**
   * What may come next: invoked before anything that is still open returned. Known outcomes first, they make
   * progress.
   */
  candidates(): number[] {
    let earliestReturn = Number.POSITIVE_INFINITY;
    const known: number[] = [];
    const unknown: number[] = [];
    for (let slot = this.#next[0] as number; slot !== 0; slot = this.#next[slot] as number) {
      const at = slot - 1;
      const { operation, isUnknown, twinBefore } = this.#items[at] as Item;
      if (operation.invokedMs > earliestReturn) break;
      if (!isUnknown) {
        earliestReturn = Math.min(earliestReturn, operation.returnedMs);
        known.push(at);
      } else if (twinBefore < 0 || this.#isDone[twinBefore] === 1) {
        unknown.push(at);
      }
    }
    return [...known, ...unknown].filter(
      (at) => (this.#items[at] as Item).operation.invokedMs <= earliestReturn,
    );
  }
}

/** One linearized operation on the way, and what may follow it. */
interface Frame {
  readonly state: string | undefined;
  readonly options: readonly number[];
  next: number;
  readonly chosen: number;
}

/**
 * Is there an order of the operations, each between its invocation and its return, that explains every
 * answer? Depth-first search over linearized sets with memory of visited (set, state) pairs (Wing and Gong,
 * "Testing and verifying concurrent objects", 1993; Lowe, "Testing for linearizability", 2017). All
 * operations must be of one key.
 */
function search(items: readonly Item[]): 'yes' | 'no' | 'undecided' {
  const open = new OpenItems(items);
  const visited = new Set<string>();
  let remaining = items.reduce((count, item) => count + (item.isUnknown ? 0 : 1), 0);
  if (remaining === 0) return 'yes';
  // An explicit stack: histories are longer than the call stack is deep.
  const stack: Frame[] = [{ state: undefined, options: open.candidates(), next: 0, chosen: -1 }];
  const undo = (at: number): void => {
    open.putBack(at);
    if (!(items[at] as Item).isUnknown) remaining += 1;
  };
  while (stack.length > 0) {
    const frame = stack[stack.length - 1] as Frame;
    if (frame.next >= frame.options.length) {
      stack.pop();
      if (frame.chosen >= 0) undo(frame.chosen);
      continue;
    }
    const at = frame.options[frame.next] as number;
    frame.next += 1;
    const { operation, isUnknown } = items[at] as Item;
    const state = step(frame.state, operation.action, isUnknown);
    if (state === IMPOSSIBLE) continue;
    // An unknown operation that changes nothing here need not have happened here.
    if (isUnknown && state === frame.state) continue;
    open.take(at);
    if (!isUnknown) remaining -= 1;
    if (remaining === 0) return 'yes';
    const mark = `${open.fingerprint}${state === undefined ? '-' : `=${state}`}`;
    if (visited.has(mark)) {
      undo(at);
      continue;
    }
    visited.add(mark);
    if (visited.size > STATES_MAX) return 'undecided';
    stack.push({ state, options: open.candidates(), next: 0, chosen: at });
  }
  return 'no';
}

/** The operations that had been invoked by the time `untilMs`, with what was known of them then. */
function prefix(operations: readonly Operation[], untilMs: number): Operation[] {
  return operations
    .filter((operation) => operation.invokedMs <= untilMs)
    .map((operation) =>
      operation.returnedMs <= untilMs ? operation : { ...operation, returnedMs: Number.POSITIVE_INFINITY },
    )
    .filter(
      (operation) => operation.returnedMs !== Number.POSITIVE_INFINITY || operation.action.f !== 'read',
    );
}

/** Finds the earliest return that makes the history impossible. */
function shortestViolation(operations: readonly Operation[]): Operation[] {
  const returns = operations
    .map((operation) => operation.returnedMs)
    .filter((at) => at !== Number.POSITIVE_INFINITY)
    .sort((a, b) => a - b);
  let low = 0;
  let high = returns.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (search(prepare(prefix(operations, returns[middle] as number))) === 'no') high = middle;
    else low = middle + 1;
  }
  return prefix(operations, returns[low] as number);
}

/** Judges the operations of one key. */
export function checkKey(key: string, operations: readonly Operation[]): LinearizabilityResult {
  switch (search(prepare(operations))) {
    case 'yes':
      return { type: 'linearizable' };
    case 'undecided':
      return { type: 'undecided', key };
    case 'no':
      return { type: 'violated', key, upTo: shortestViolation(operations) };
  }
}
