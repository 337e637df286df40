import type { Operation } from '../history.js';
import { buildModel, type Event, type Known } from './model.js';
import { Sweep, type SweepLimits } from './sweep.js';

/** Stands for all values that no operation of a part observes. */
export const OTHER_VALUE = '(another value)';

/** A part of a history that cannot be explained, whatever happened around it. */
export interface Contradiction {
  /** What the key may have held when the part begins; undefined = absent. */
  readonly initial: readonly (string | undefined)[];
  /** In order of invocation; up to the culprit's return. */
  readonly upTo: readonly Operation[];
  /** The operation at whose return no explanation was left. */
  readonly culprit: Operation;
}

/** Events by which windows before the culprit grow until the contradiction is inside. */
const WINDOW_GROWTH = 4;
const WINDOW_EVENTS_MIN = 8;
/** Operations swept in all attempts to make a contradiction smaller: bounds the time, in seconds. */
const WORK_MAX = 12_000_000;

/** Values with which a window may begin. */
const INITIAL_MAX = 2_000;
const LIMITS: SweepLimits = { widthMin: 4_000, widthMax: 4_000, plentyAbove: 0, stepsMax: 200_000 };

const NEVER = Number.POSITIVE_INFINITY;

interface Attempt {
  readonly initial: readonly (string | undefined)[];
  readonly operations: readonly Operation[];
}

/** What had been invoked by `untilMs`. */
function prefix(operations: readonly Operation[], untilMs: number): Operation[] {
  return operations.filter(({ invokedMs }) => invokedMs <= untilMs);
}

/** Values whose presence the operation confirms; `all` when it depends on everything before it. */
function observed({ action, returnedMs }: Operation): readonly (string | undefined)[] | 'all' {
  const isKnown = returnedMs !== NEVER;
  switch (action.f) {
    case 'write':
      return [];
    case 'read':
      return [action.value];
    case 'cas':
      return isKnown && !action.succeeded ? [action.found] : [action.expected];
    case 'add':
      return 'all';
  }
}

function given({ action, returnedMs }: Operation): readonly (string | undefined)[] {
  if (action.f === 'read') return [];
  if (action.f === 'add') return [action.result];
  if (action.f === 'cas' && returnedMs !== NEVER && !action.succeeded) return [];
  return [action.value];
}

/**
 * The operations without those in `dropped`, and without all that rests on them: whoever observed a value
 * that a dropped operation gave is dropped too. Nothing else is left out, so that what explains the whole
 * would also explain the rest.
 */
function closedWithout(operations: readonly Operation[], dropped: ReadonlySet<Operation>): Operation[] {
  const observers = new Map<string | undefined, Operation[]>();
  const counters: Operation[] = [];
  for (const operation of operations) {
    const values = observed(operation);
    if (values === 'all') counters.push(operation);
    else {
      for (const value of values) {
        const list = observers.get(value);
        if (list === undefined) observers.set(value, [operation]);
        else list.push(operation);
      }
    }
  }
  // A set grows while it is walked.
  const gone = new Set(dropped);
  for (const operation of gone) {
    for (const value of given(operation)) for (const other of observers.get(value) ?? []) gone.add(other);
    if (operation.action.f === 'add') for (const each of operations) gone.add(each);
    else if (given(operation).length > 0) for (const other of counters) gone.add(other);
  }
  return operations.filter((operation) => !gone.has(operation));
}

/** Finds small contradictions; every step leaves one, as long as the budget lasts. */
export class Minimiser {
  #work = 0;

  /**
   * A small contradiction near event `at` of the operations of one key, where a sweep got stuck. undefined
   * when no part can be shown to be one.
   */
  find(operations: readonly Operation[], at: number): Contradiction | undefined {
    let smallest = this.#window(operations, at);
    if (smallest === undefined) return undefined;
    for (let before = NEVER; smallest.operations.length < before && this.#work < WORK_MAX;) {
      before = smallest.operations.length;
      smallest = this.#dropPieces(smallest);
    }
    const culprit = this.#stuckAt(smallest) as Operation;
    const upTo = [...smallest.operations].sort((a, b) => a.invokedMs - b.invokedMs);
    return { initial: toldApart(smallest), upTo, culprit };
  }

  /** The operation at which an attempt contradicts itself; undefined when it does not, or not certainly. */
  #stuckAt({ initial, operations }: Attempt): Operation | undefined {
    this.#work += operations.length + 1;
    const end = new Sweep(buildModel(operations, initial), LIMITS).run();
    return end.type === 'stuck' && end.isExact ? end.culprit.operation : undefined;
  }

  /**
   * Looks at ever more events before and after the place. What was open when a window begins may have
   * happened before it, in it or never, and the key may hold any value then; so a contradiction inside is
   * one of the whole.
   */
  #window(operations: readonly Operation[], at: number): Attempt | undefined {
    const { events } = buildModel(operations);
    for (let size = WINDOW_EVENTS_MIN; ; size *= WINDOW_GROWTH) {
      const [from, to] = [Math.max(0, at - size), Math.min(events.length - 1, at + size)];
      const inside = prefix(operations, timeOf(events[to] as Event));
      const begun = cutAt(inside, events.slice(0, from));
      const initial = from === 0 ? [undefined] : anyValue(begun);
      const attempt = { initial, operations: begun };
      if (initial.length <= INITIAL_MAX && this.#stuckAt(attempt) !== undefined) {
        return this.#upToCulprit(attempt);
      }
      if (from === 0 && to === events.length - 1) return undefined;
    }
  }

  /** Leaves out what came after the first answer that contradicts the rest. */
  #upToCulprit(attempt: Attempt): Attempt {
    const culprit = this.#stuckAt(attempt);
    if (culprit === undefined) return attempt;
    const shorter = { ...attempt, operations: prefix(attempt.operations, culprit.returnedMs) };
    return this.#stuckAt(shorter) === undefined ? attempt : shorter;
  }

  /** Leaves out pieces of half the length, a quarter, and so on down to single operations. */
  #dropPieces(from: Attempt): Attempt {
    let current = from;
    for (let size = (current.operations.length + 1) >>> 1; size >= 1; size >>>= 1) {
      for (let at = 0; at < current.operations.length && this.#work < WORK_MAX;) {
        const piece = new Set(current.operations.slice(at, at + size));
        const attempt = { ...current, operations: closedWithout(current.operations, piece) };
        if (this.#stuckAt(attempt) === undefined) at += size;
        else current = this.#upToCulprit(attempt);
      }
    }
    return current;
  }
}

/** What is left when the events of `before` are over: what is open then may have happened, or not. */
function cutAt(operations: readonly Operation[], before: readonly Event[]): Operation[] {
  const begun = new Map<Operation, Known>();
  const ended = new Set<Operation>();
  for (const event of before) {
    if (event.type === 'invoke') begun.set(event.known.operation, event.known);
    if (event.type === 'return') ended.add(event.known.operation);
  }
  return operations
    .filter((each) => !ended.has(each) && begun.get(each)?.kind !== 'observe')
    .map((each) => (begun.has(each) ? { ...each, returnedMs: NEVER } : each));
}

function timeOf(event: Event): number {
  if (event.type === 'unknown') return event.atMs;
  const { invokedMs, returnedMs } = event.known.operation;
  return event.type === 'invoke' ? invokedMs : returnedMs;
}

/** Every value that some operation could tell from others, and one that stands for all the rest. */
function anyValue(operations: readonly Operation[]): (string | undefined)[] {
  const values = new Set<string | undefined>([OTHER_VALUE]);
  for (const operation of operations) {
    const seen = observed(operation);
    for (const value of seen === 'all' ? aroundAddition(operation) : seen) values.add(value);
  }
  return [...values];
}

/** What an increment of known result met and left. */
function aroundAddition({ action, returnedMs }: Operation): readonly (string | undefined)[] {
  if (action.f !== 'add' || returnedMs === NEVER) return [];
  const before = Number(action.result) - action.delta;
  return [String(before), ...(before === 0 ? [undefined] : []), action.result];
}

/** Values at the beginning that nobody observes are one as good as the other. */
function toldApart({ initial, operations }: Attempt): readonly (string | undefined)[] {
  if (initial.length === 1) return initial;
  const seen = new Set(
    operations.flatMap((each) => {
      const values = observed(each);
      return values === 'all' ? initial : values;
    }),
  );
  const told = initial.filter((value) => seen.has(value));
  return told.length < initial.length ? [...told, OTHER_VALUE] : told;
}
