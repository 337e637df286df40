import { InvariantError } from '@cairn/base';

import { clearBit, Frontier, hasBit, keyOf, setBit, spendOne, type Configuration } from './frontier.js';
import { GARBAGE, type Event, type Known, type Model, type UnknownKind } from './model.js';
import { OpenOperations } from './open.js';

export interface SweepLimits {
  /** Configurations kept from one event to the next; further ones are left out. */
  readonly widthMin: number;
  /** The same where that led nowhere: there the sweep goes back and keeps up to this many. */
  readonly widthMax: number;
  /** Of unknown operations with one effect, more than this many count as any number. */
  readonly plentyAbove: number;
  /** Steps tried in all before the sweep gives up: bounds the time. */
  readonly stepsMax: number;
}

export type SweepEnd =
  /** Some order explains every answer. Certain unless unknown operations were counted as any number. */
  | { readonly type: 'explained'; readonly isExact: boolean }
  /** Nothing explains the answer of `culprit`. Certain unless configurations were left out. */
  | { readonly type: 'stuck'; readonly culprit: Known; readonly at: number; readonly isExact: boolean };

/** Steps tried for one return, per configuration that may be kept, before the rest is left out. */
const STEPS_PER_WIDTH = 50;
/** Events that the sweep can go back, and how far it goes at first. */
const REMEMBERED_EVENTS = 4_096;
const BACK_EVENTS = 16;
const GROWTH = 4;
const NOWHERE = -1;

/**
 * Is there an order of the operations of one key, each between its invocation and its return, that explains
 * every answer? Just-in-time linearization (Lowe, "Testing for linearizability", 2017): events in order of
 * time, and with each all configurations that are possible so far. An operation happens no sooner than the
 * return of some operation demands it. What keeps the configurations few:
 *
 * - What changes nothing happens as soon as the state allows it; that excludes nothing.
 * - A write that nobody sees is put right before a later write and leaves no trace.
 * - Of writes with one value the one that returns first happens first; unknown ones after all known ones.
 * - A visit to a value that nobody misses later happens right before the next write, if it helps anybody.
 * - A value that somebody still misses and nobody brings back is not left.
 * - Before the operation that must happen now, only what an open operation waits for is worth visiting.
 * - Values that no remaining answer mentions are all the same.
 * - A configuration from which less is possible than from another one is dropped.
 */
export class Sweep {
  readonly #model: Model;
  readonly #limits: SweepLimits;
  readonly #open: OpenOperations;
  #frontier = new Frontier();
  readonly #remembered: Frontier[] = [];
  #width: number;
  #steps = 0;
  /** The first event at which configurations were left out. */
  #narrowedAt = NOWHERE;
  #isWidened = false;

  constructor(model: Model, limits: SweepLimits) {
    this.#model = model;
    this.#limits = limits;
    this.#width = limits.widthMin;
    this.#open = new OpenOperations(model, limits.plentyAbove);
    const words = (model.slots + 31) >>> 5;
    for (const state of model.initial) {
      const empty = { covered: new Int32Array(words), used: new Int32Array(words), spent: [] };
      this.#frontier.add(this.#settled({ state, ...empty }));
    }
  }

  run(): SweepEnd {
    const { events } = this.#model;
    let [wideUntil, back] = [-1, BACK_EVENTS];
    for (let at = 0; at < events.length; at += 1) {
      if (at > wideUntil) this.#width = this.#limits.widthMin;
      this.#remembered[at % REMEMBERED_EVENTS] = this.#frontier;
      const event = events[at] as Event;
      this.#pass(event, at);
      if (this.#frontier.size > 0) continue;
      if (event.type !== 'return') throw new InvariantError('only an answer can contradict');
      const canRetry = this.#width < this.#limits.widthMax && this.#steps < this.#limits.stepsMax;
      if (this.#narrowedAt === NOWHERE || !canRetry) {
        return { type: 'stuck', culprit: event.known, at, isExact: this.#narrowedAt === NOWHERE };
      }
      back = at <= wideUntil ? back * GROWTH : BACK_EVENTS;
      this.#width = Math.min(this.#width * GROWTH, this.#limits.widthMax);
      wideUntil = Math.max(wideUntil, at);
      at = this.#goBack(at, back) - 1;
    }
    return { type: 'explained', isExact: !this.#isWidened };
  }

  #pass(event: Event, at: number): void {
    switch (event.type) {
      case 'invoke':
        this.#invoke(event.known);
        return;
      case 'unknown':
        this.#open.offer(event.kind);
        if (this.#open.isPlenty(event.kind)) this.#isWidened = true;
        return;
      case 'return':
        if (this.#return(event.known) && this.#narrowedAt === NOWHERE) this.#narrowedAt = at;
    }
  }

  /** Undoes events up to and including `at`; answers the first one undone. */
  #goBack(at: number, count: number): number {
    const to = Math.max(0, at - Math.min(count, REMEMBERED_EVENTS - 1));
    for (let undone = at; undone >= to; undone -= 1) {
      const event = this.#model.events[undone] as Event;
      if (event.type === 'unknown') this.#open.withdraw(event.kind);
      else if (event.type === 'invoke') this.#open.uninvoke(event.known);
      else this.#open.open(event.known);
    }
    this.#frontier = this.#remembered[to % REMEMBERED_EVENTS] as Frontier;
    if (this.#narrowedAt >= to) this.#narrowedAt = NOWHERE;
    return to;
  }

  #invoke(known: Known): void {
    this.#open.invoke(known);
    if (known.kind !== 'observe') return;
    const after = new Frontier();
    for (const each of this.#frontier)
      after.add(known.wants.includes(each.state) ? this.#settled(each) : each);
    this.#frontier = after;
  }

  /** Takes the return of an operation. True when configurations were left out. */
  #return(known: Known): boolean {
    let isNarrowed = false;
    const after = new Frontier();
    const visited = new Set<string>();
    const paths: Configuration[] = [];
    for (const each of this.#frontier) {
      if (hasBit(each.covered, known.slot)) after.add(without(each, known));
      if (this.#isWorthUsing(each, known)) paths.push(each);
    }
    while (paths.length > 0) {
      for (const next of this.#next(paths.pop() as Configuration, known)) {
        const key = keyOf(next);
        if (visited.has(key)) continue;
        visited.add(key);
        if (hasBit(next.covered, known.slot)) after.add(without(next, known));
        if (this.#isWorthUsing(next, known)) paths.push(next);
      }
      if (visited.size > this.#width * STEPS_PER_WIDTH || after.size > this.#width * 2) {
        isNarrowed = paths.length > 0;
        break;
      }
    }
    this.#open.finish(known);
    if (after.trim(this.#width)) isNarrowed = true;
    this.#steps += visited.size;
    this.#frontier = after;
    return isNarrowed;
  }

  /** Whether the operation must still happen, or can and somebody may want that. */
  #isWorthUsing(configuration: Configuration, known: Known): boolean {
    if (!hasBit(configuration.covered, known.slot)) return true;
    if (known.kind !== 'write' || hasBit(configuration.used, known.slot)) return false;
    return this.#open.isWanted(known.gives, configuration);
  }

  /** Finds what may happen next on the way to `target`. */
  *#next(from: Configuration, target: Known): Generator<Configuration> {
    const open = this.#open;
    const { state } = from;
    if (!open.mayLeave(from)) return;
    const useful = open.usefulValues(from);
    // An increment of nothing wants 0 or absence: it is not the twin of a cas that wants one of the two.
    const tried = new Set<string>();
    for (const each of byDeadline(open.replacersOf(state))) {
      const effect = `${each.wants.length} ${each.gives}`;
      if (hasBit(from.covered, each.slot) || tried.has(effect)) continue;
      tried.add(effect);
      yield this.#after(from, each);
    }
    for (const kind of open.unknownReplacersOf(state, from)) {
      const { gives } = this.#kind(kind);
      if (useful.has(gives) && !tried.has(`1 ${gives}`)) yield this.#afterUnknown(from, kind, gives);
    }
    yield* this.#additions(from, useful);
    const isAnyBare = open.writeMask.some((word, at) => (word & ~(from.covered[at] as number)) !== 0);
    for (const value of useful) {
      if (value === state && !isAnyBare) continue;
      const write = open.writeOf(value, from);
      if (write !== undefined) yield this.#after(from, write);
      else {
        const kind = open.unknownWriteOf(value, from);
        if (kind !== undefined) yield this.#afterUnknown(from, kind, value);
      }
    }
    if (target.kind === 'write' && !hasBit(from.used, target.slot)) {
      if (target.gives !== state || isAnyBare) yield this.#after(from, target);
    }
  }

  /**
   * Increments of unknown outcome, unless they lead away from every number that somebody waits for. Where
   * there are some of both signs, whatever they lead to in any order they also lead to in one that goes no
   * further beyond those numbers than the largest of them.
   */
  *#additions(from: Configuration, useful: ReadonlySet<number>): Generator<Configuration> {
    const deltas = this.#open.unknownAdds(from).map((kind) => ({ kind, delta: this.#kind(kind).delta }));
    if (deltas.length === 0 || useful.size === 0) return;
    const { values } = this.#model;
    const current = Number(values.names[from.state] ?? '0');
    const waited = [...useful].map((value) => Number(values.names[value] ?? '0'));
    const isMixed = deltas.some(({ delta }) => delta > 0) && deltas.some(({ delta }) => delta < 0);
    const beyond = isMixed ? Math.max(...deltas.map(({ delta }) => Math.abs(delta))) : 0;
    const [low, high] = [Math.min(...waited) - beyond, Math.max(...waited) + beyond];
    for (const { kind, delta } of deltas) {
      if (delta > 0 ? current + delta <= high : current + delta >= low) {
        yield this.#afterUnknown(from, kind, values.sum(from.state, delta));
      }
    }
  }

  #kind(number: number): UnknownKind {
    return this.#model.unknownKinds[number] as UnknownKind;
  }

  #after(from: Configuration, known: Known): Configuration {
    const [covered, used] = [from.covered.slice(), from.used.slice()];
    if (known.kind === 'write') this.#open.passBy(covered, from, known.gives);
    setBit(covered, known.slot);
    setBit(used, known.slot);
    return this.#settled({ state: known.gives, covered, used, spent: from.spent });
  }

  #afterUnknown(from: Configuration, kind: number, state: number): Configuration {
    const covered = from.covered.slice();
    if (this.#kind(kind).kind === 'write') this.#open.passBy(covered, from, state);
    const spent = this.#open.isPlenty(kind) ? from.spent : spendOne(from.spent, kind);
    return this.#settled({ state, covered, used: from.used, spent });
  }

  /** Lets everything happen that changes nothing, and forgets what cannot matter any more. */
  #settled(configuration: Configuration): Configuration {
    const open = this.#open;
    const covered = configuration.covered.slice();
    for (const { slot } of open.observersOf(configuration.state)) setBit(covered, slot);
    const now = { ...configuration, covered };
    const used = this.#stillUsed(now);
    const spent = now.spent.length === 0 ? now.spent : this.#stillSpent(now);
    const state = open.isWanted(now.state, now) ? now.state : GARBAGE;
    return { state, covered, used, spent };
  }

  /** That a write happened visibly matters only while somebody may want its value. */
  #stillUsed(now: Configuration): Int32Array {
    if (now.used.every((word) => word === 0)) return now.used;
    const used = now.used.slice();
    for (const known of this.#open.changes()) {
      if (hasBit(used, known.slot) && !this.#open.isWanted(known.gives, now)) clearBit(used, known.slot);
    }
    return used;
  }

  #stillSpent(now: Configuration): readonly number[] {
    const kept: number[] = [];
    for (let at = 0; at < now.spent.length; at += 2) {
      const number = now.spent[at] as number;
      const { kind, gives } = this.#kind(number);
      if (this.#open.isPlenty(number) || (kind !== 'add' && !this.#open.isWanted(gives, now))) continue;
      kept.push(number, now.spent[at + 1] as number);
    }
    return kept;
  }
}

function byDeadline(list: readonly Known[]): readonly Known[] {
  return list.length < 2 ? list : [...list].sort((a, b) => a.deadline - b.deadline);
}

function without(configuration: Configuration, { slot }: Known): Configuration {
  const [covered, used] = [configuration.covered.slice(), configuration.used.slice()];
  clearBit(covered, slot);
  clearBit(used, slot);
  return { ...configuration, covered, used };
}
