import type { Operation } from '../history.js';
import { buildModel, type Event, type Known } from './model.js';
import { OTHER_VALUE, Sweep, type SweepLimits } from './sweep.js';

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
 * The operations without those in `dropped`, and without all that rests on them: whoever observed a value that
 * a dropped operation gave is dropped too. Nothing else is left out, so that what explains the whole would also
 * explain the rest.
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

/** Makes a contradiction smaller, as long as the budget lasts; every step leaves a contradiction. */
export class Minimiser {
  readonly #limits: SweepLimits;
  #work = 0;

  constructor(limits: SweepLimits) {
    this.#limits = limits;
  }

  /** `operations` must be a contradiction when the key is absent at first. */
  shrink(operations: readonly Operation[], culprit: Operation): Contradiction {
    let smallest = this.#window(this.#shortPrefix(operations, culprit));
    for (let before = NEVER; smallest.operations.length < before && this.#work < WORK_MAX;) {
      before = smallest.operations.length;
      smallest = this.#dropPieces(smallest);
    }
    const end = this.#stuckAt(smallest) ?? culprit;
    const sorted = [...smallest.operations].sort((a, b) => a.invokedMs - b.invokedMs);
    return { initial: toldApart(smallest), upTo: sorted, culprit: end };
  }

  /**
   * A sweep may see that it will get stuck before the answer comes that makes it so: a little more than what it
   * had seen is the contradiction.
   */
  #shortPrefix(operations: readonly Operation[], culprit: Operation): Attempt {
    const ends = operations
      .map(({ returnedMs }) => returnedMs)
      .filter((atMs) => atMs >= culprit.returnedMs && atMs !== NEVER)
      .sort((a, b) => a - b);
    for (let more = 0; more < ends.length; more = more * WINDOW_GROWTH + 1) {
      const attempt = { initial: [undefined], operations: prefix(operations, ends[more] as number) };
      if (this.#stuckAt(attempt) !== undefined) return attempt;
    }
    return { initial: [undefined], operations };
  }

  /** The operation at which an attempt contradicts itself; undefined when it does not, or not certainly. */
  #stuckAt({ initial, operations }: Attempt): Operation | undefined {
    this.#work += operations.length + 1;
    const end = new Sweep(buildModel(operations, initial), this.#limits).run();
    return end.type === 'stuck' && end.isExact ? end.culprit.operation : undefined;
  }

  /**
   * Cuts off the beginning: what was open at the cut may have happened before it, after it or never, and of
   * what was before only the values count that the key may have held.
   */
  #window(whole: Attempt): Attempt {
    const model = buildModel(whole.operations, whole.initial);
    const { events } = model;
    const cuts = new Set<number>();
    for (let size = WINDOW_EVENTS_MIN; size < events.length; size *= WINDOW_GROWTH) {
      cuts.add(events.length - size);
    }
    const states = new Map<number, readonly (string | undefined)[]>();
    this.#work += whole.operations.length;
    new Sweep(model, this.#limits).run((at, current) => {
      if (cuts.has(at)) states.set(at, current());
    });
    for (const [cut, initial] of [...states].sort(([a], [b]) => b - a)) {
      const attempt = { initial, operations: cutAt(whole.operations, events.slice(0, cut)) };
      if (this.#stuckAt(attempt) !== undefined) return this.#upToCulprit(attempt);
    }
    return whole;
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

/** What is left when the events of `before` are over: those operations then open may have happened, or not. */
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
