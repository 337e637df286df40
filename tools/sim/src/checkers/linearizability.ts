import type { Action, Operation } from '../history.js';

/** States visited before a key is given up as too hard to decide. */
const STATES_MAX = 2_000_000;

export type LinearizabilityResult =
  | { readonly type: 'linearizable' }
  /** No order explains the operations; `upTo` is the shortest prefix (by time of return) that cannot be explained. */
  | { readonly type: 'violated'; readonly key: string; readonly upTo: readonly Operation[] }
  | { readonly type: 'undecided'; readonly key: string };

interface Item {
  readonly operation: Operation;
  readonly isUnknown: boolean;
  /** Unknown operations with the same effect are interchangeable: only the one invoked first need be tried. */
  readonly twinBefore: number;
}

/** The state after the action, or `impossible` when its answer contradicts the state. */
function step(state: string | undefined, action: Action, isUnknown: boolean): string | undefined | typeof IMPOSSIBLE {
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

/** Values that some answer mentions: an unknown write of any other value leaves no trace and need not be tried. */
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
    const effect = JSON.stringify(operation.action, (name, value: unknown) => (name === 'result' ? 0 : (value ?? null)));
    const twinBefore = lastTwin.get(effect) ?? -1;
    lastTwin.set(effect, at);
    return { operation, isUnknown, twinBefore };
  });
}

/**
 * Is there an order of the operations, each between its invocation and its return, that explains every answer? Depth-first
 * search over linearized sets with memory of visited (set, state) pairs (Wing and Gong; Lowe, "Testing for
 * linearizability", 2017). All operations must be of one key.
 */
function search(items: readonly Item[]): 'yes' | 'no' | 'undecided' {
  const done = new Uint8Array(items.length);
  const visited = new Set<string>();
  const known = items.reduce((count, item) => count + (item.isUnknown ? 0 : 1), 0);
  const isTooLarge = (): boolean => visited.size > STATES_MAX;

  const candidates = (low: number): number[] => {
    let earliestReturn = Number.POSITIVE_INFINITY;
    const found: number[] = [];
    for (let at = low; at < items.length; at += 1) {
      const { operation, isUnknown, twinBefore } = items[at] as Item;
      if (operation.invokedMs > earliestReturn) break;
      if (done[at] === 1) continue;
      if (!isUnknown) earliestReturn = Math.min(earliestReturn, operation.returnedMs);
      if (twinBefore >= 0 && done[twinBefore] === 0) continue;
      found.push(at);
    }
    // Operations whose outcome is known first: they are the ones that make progress.
    const eligible = found.filter((at) => (items[at] as Item).operation.invokedMs <= earliestReturn);
    return [
      ...eligible.filter((at) => !(items[at] as Item).isUnknown),
      ...eligible.filter((at) => (items[at] as Item).isUnknown),
    ];
  };

  const signature = (low: number, state: string | undefined): string => {
    let high = items.length;
    while (high > low && done[high - 1] === 0) high -= 1;
    return `${low}:${Buffer.from(done.subarray(low, high)).toString('latin1')}:${state === undefined ? '-' : `=${state}`}`;
  };

  /** An explicit stack: histories are longer than the call stack is deep. */
  interface Frame {
    readonly low: number;
    readonly state: string | undefined;
    readonly options: readonly number[];
    next: number;
    readonly chosen: number;
  }
  let remaining = known;
  const lowFrom = (from: number): number => {
    let low = from;
    while (low < items.length && done[low] === 1) low += 1;
    return low;
  };
  const stack: Frame[] = [{ low: 0, state: undefined, options: candidates(0), next: 0, chosen: -1 }];
  if (remaining === 0) return 'yes';
  while (stack.length > 0) {
    const frame = stack[stack.length - 1] as Frame;
    if (frame.next >= frame.options.length) {
      stack.pop();
      if (frame.chosen >= 0) {
        done[frame.chosen] = 0;
        if (!(items[frame.chosen] as Item).isUnknown) remaining += 1;
      }
      continue;
    }
    const at = frame.options[frame.next] as number;
    frame.next += 1;
    const item = items[at] as Item;
    const state = step(frame.state, item.operation.action, item.isUnknown);
    if (state === IMPOSSIBLE) continue;
    // An unknown operation that changes nothing here need not have happened here.
    if (item.isUnknown && state === frame.state) continue;
    done[at] = 1;
    if (!item.isUnknown) remaining -= 1;
    if (remaining === 0) return 'yes';
    const low = lowFrom(frame.low);
    const mark = signature(low, state);
    if (visited.has(mark)) {
      done[at] = 0;
      if (!item.isUnknown) remaining += 1;
      continue;
    }
    visited.add(mark);
    if (isTooLarge()) return 'undecided';
    stack.push({ low, state, options: candidates(low), next: 0, chosen: at });
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
    .filter((operation) => operation.returnedMs !== Number.POSITIVE_INFINITY || operation.action.f !== 'read');
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
