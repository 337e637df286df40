import type { Operation } from '../history.js';

/** The state after a value that no remaining answer could tell from any other such value. */
export const GARBAGE = -1;

/** What an operation of known outcome asks of the state, and does to it. Values are numbers of a table. */
export interface Known {
  readonly operation: Operation;
  /** `observe` changes nothing; `write` takes any state; `cas` replaces one of `wants` by `gives`. */
  readonly kind: 'observe' | 'write' | 'cas';
  /** States in which it can happen; empty for a write, and for what can never happen. */
  readonly wants: readonly number[];
  readonly gives: number;
  /** Its bit in the masks of configurations while it is open. */
  slot: number;
  /** Position of its return among the events: who must happen sooner. */
  deadline: number;
}

/** Operations of unknown outcome with the same effect are interchangeable: only their number counts. */
export interface UnknownKind {
  readonly kind: 'write' | 'cas' | 'add';
  /** The state that a `cas` replaces. */
  readonly wants: number;
  readonly gives: number;
  readonly delta: number;
}

export type Event =
  | { readonly type: 'invoke' | 'return'; readonly known: Known }
  | { readonly type: 'unknown'; readonly kind: number; readonly atMs: number };

/** The operations of one key, prepared for the sweep. */
export interface Model {
  readonly events: readonly Event[];
  readonly unknownKinds: readonly UnknownKind[];
  /** Value by number. */
  readonly values: ValueTable;
  readonly initial: readonly number[];
  /** Slots needed at most at one time. */
  readonly slots: number;
  /** With increments, states are also reached that no answer names. */
  readonly hasAdds: boolean;
}

export class ValueTable {
  readonly #numbers = new Map<string | undefined, number>();
  readonly names: (string | undefined)[] = [];

  of(value: string | undefined): number {
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = this.names.push(value) - 1;
      this.#numbers.set(value, number);
    }
    return number;
  }

  /** The state after an increment; increments of what is absent begin at 0. */
  sum(state: number, delta: number): number {
    return this.of(String(Number(this.names[state] ?? '0') + delta));
  }
}

const isUnknown = (operation: Operation): boolean => operation.returnedMs === Number.POSITIVE_INFINITY;

function knownOf(operation: Operation, values: ValueTable): Known {
  const { action } = operation;
  const rest = { operation, slot: -1, deadline: -1 };
  switch (action.f) {
    case 'write':
      return { ...rest, kind: 'write', wants: [], gives: values.of(action.value) };
    case 'read': {
      const value = values.of(action.value);
      return { ...rest, kind: 'observe', wants: [value], gives: value };
    }
    case 'cas': {
      const expected = values.of(action.expected);
      if (!action.succeeded) {
        const found = values.of(action.found);
        return { ...rest, kind: 'observe', wants: found === expected ? [] : [found], gives: found };
      }
      const gives = values.of(action.value);
      return { ...rest, kind: gives === expected ? 'observe' : 'cas', wants: [expected], gives };
    }
    case 'add': {
      const before = Number(action.result) - action.delta;
      const wants = [values.of(String(before))];
      if (before === 0) wants.push(values.of(undefined));
      return { ...rest, kind: 'cas', wants, gives: values.of(action.result) };
    }
  }
}

function unknownOf({ action }: Operation, values: ValueTable): UnknownKind | undefined {
  switch (action.f) {
    case 'read':
      return undefined;
    case 'write':
      return { kind: 'write', wants: GARBAGE, gives: values.of(action.value), delta: 0 };
    case 'cas': {
      const [wants, gives] = [values.of(action.expected), values.of(action.value)];
      return wants === gives ? undefined : { kind: 'cas', wants, gives, delta: 0 };
    }
    case 'add':
      return { kind: 'add', wants: GARBAGE, gives: GARBAGE, delta: action.delta };
  }
}

/** Values that some answer depends on; an unknown operation that gives another one leaves no trace. */
function wantedValues(known: readonly Known[], unknown: readonly UnknownKind[]): Set<number> {
  const wanted = new Set(known.flatMap(({ wants }) => wants));
  const givers = new Map<number, number[]>();
  for (const { kind, wants, gives } of unknown) {
    if (kind !== 'cas') continue;
    const list = givers.get(gives);
    if (list === undefined) givers.set(gives, [wants]);
    else list.push(wants);
  }
  // A set grows while it is walked: what an unknown cas needs to give a wanted value is wanted too.
  for (const value of wanted) for (const needed of givers.get(value) ?? []) wanted.add(needed);
  return wanted;
}

interface Timed {
  readonly atMs: number;
  readonly order: number;
  readonly event: Event;
}

/** Gives every operation a slot from its invocation to its return, and its deadline. */
function assignSlots(events: readonly Event[]): number {
  const free: number[] = [];
  let slots = 0;
  for (const [at, event] of events.entries()) {
    if (event.type === 'invoke') {
      const reused = free.pop();
      event.known.slot = reused ?? slots;
      if (reused === undefined) slots += 1;
    } else if (event.type === 'return') {
      event.known.deadline = at;
      free.push(event.known.slot);
    }
  }
  return slots;
}

/** `initial`: what the key may hold at the beginning; undefined = absent. */
export function buildModel(
  operations: readonly Operation[],
  initial: readonly (string | undefined)[] = [undefined],
): Model {
  const values = new ValueTable();
  const initialStates = initial.map((value) => values.of(value));
  const known = operations.filter((each) => !isUnknown(each)).map((each) => knownOf(each, values));
  const unknownOperations = operations.filter(isUnknown);
  const effects = unknownOperations.map((each) => unknownOf(each, values));
  const hasAdds = operations.some(({ action }) => action.f === 'add');
  const wanted = wantedValues(
    known,
    effects.filter((each) => each !== undefined),
  );
  const timed: Timed[] = known.flatMap((each) => [
    { atMs: each.operation.invokedMs, order: 0, event: { type: 'invoke', known: each } },
    { atMs: each.operation.returnedMs, order: 1, event: { type: 'return', known: each } },
  ]);
  const unknownKinds: UnknownKind[] = [];
  const kindNumbers = new Map<string, number>();
  for (const [at, effect] of effects.entries()) {
    if (effect === undefined || (!hasAdds && !wanted.has(effect.gives))) continue;
    const name = `${effect.kind} ${effect.wants} ${effect.gives} ${effect.delta}`;
    const kind = kindNumbers.get(name) ?? unknownKinds.push(effect) - 1;
    kindNumbers.set(name, kind);
    const atMs = (unknownOperations[at] as Operation).invokedMs;
    timed.push({ atMs, order: 0, event: { type: 'unknown', kind, atMs } });
  }
  // Of two at one moment the invocation counts as first: then they overlap, which excludes less.
  timed.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
  const events = timed.map(({ event }) => event);
  return { events, unknownKinds, values, initial: initialStates, slots: assignSlots(events), hasAdds };
}
