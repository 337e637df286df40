import { InvariantError } from '@cairn/base';

import { DEFAULT_BOUNDS, type Bounds } from './bounds.js';
import { faultOf } from './invariants.js';
import { Locals, namingsOf, OUTSIDE, type Naming, usedOf, type View } from './locals.js';
import { COUNTED } from './replica.js';
import { StateTable } from './states.js';

const NO_STATE = 0xffff_ffff;

export interface Exploration {
  /** Different states of the group. */
  readonly states: number;
  /** Steps between them, with those that lead to known ones. */
  readonly steps: number;
  /** Different states of single replicas. */
  readonly replicaStates: number;
  readonly messages: number;
  /** Steps of a replica that the bounds cut off. */
  readonly cut: number;
  /** The longest of the shortest ways to a state. */
  readonly depth: number;
  /** Nothing within the bounds is left. */
  readonly isExhaustive: boolean;
  readonly violation: Violation | undefined;
}

export interface Violation {
  readonly message: string;
  /** As few steps as possible. */
  readonly trace: readonly string[];
}

/**
 * Every state that a group of replicas can reach, breadth first: whatever was sent may arrive at any time,
 * in any order, several times or never; logs are synced late; replicas crash.
 */
export class Explorer {
  readonly #bounds: Bounds;
  readonly #locals: Locals;
  readonly #table: StateTable;
  /** Combinations of views that were judged. */
  readonly #judged = new Map<string, string | undefined>();
  #steps = 0;
  #depth = 0;
  #current = 0;
  #violation: Violation | undefined;
  /** The state that is looked at, and the one that comes of a step. */
  readonly #now: number[] = [];
  readonly #then: number[] = [];
  readonly #other: number[] = [];
  readonly #namings: readonly Naming[];

  constructor(bounds: Bounds) {
    this.#namings = bounds.hasPreVotes ? [] : namingsOf(bounds.nodes);
    this.#bounds = bounds;
    this.#locals = new Locals(bounds);
    this.#table = new StateTable(bounds.nodes);
  }

  /** `onProgress` is called now and then; it ends the exploration by answering false. */
  run(onProgress: (states: number, waiting: number) => boolean = () => true): Exploration {
    this.#table.add(this.#locals.births(), NO_STATE);
    let endOfLevel = 1;
    let isEnded = false;
    for (this.#current = 0; this.#current < this.#table.count; this.#current += 1) {
      if (this.#current === endOfLevel) {
        this.#depth += 1;
        endOfLevel = this.#table.count;
      }
      this.#expand();
      isEnded = this.#violation !== undefined || this.#table.count >= this.#bounds.statesMax;
      if (this.#current % 10_000 === 0)
        isEnded ||= !onProgress(this.#table.count, this.#table.count - this.#current);
      if (isEnded) break;
    }
    return {
      states: this.#table.count,
      steps: this.#steps,
      replicaStates: this.#locals.all.length,
      messages: this.#locals.inputs.filter(({ type }) => type === 'message').length,
      cut: this.#locals.outside,
      depth: this.#depth,
      isExhaustive: !isEnded,
      violation: this.#violation,
    };
  }

  #expand(): void {
    const now = this.#now;
    this.#table.read(this.#current, now);
    const locals = now.map((local) => this.#locals.at(local));
    const used = usedOf(locals);
    const isUsedUp = (type: string): boolean =>
      COUNTED.some((what) => what === type && used[what] >= this.#bounds[LIMITS[what]]);
    for (const [at, local] of locals.entries()) {
      for (const input of local.inputs) {
        if (!isUsedUp(this.#locals.input(input).type)) this.#step(at, input);
      }
      if (used.read < this.#bounds.reads)
        this.#step(at, this.#locals.readAt(Math.max(...locals.map(({ commit }) => commit))));
      for (const other of locals) for (const input of other.sentTo[at] ?? []) this.#step(at, input);
      if (this.#violation !== undefined) return;
    }
  }

  #step(at: number, input: number): void {
    const from = this.#now[at] as number;
    const to = this.#locals.next(from, input);
    this.#steps += 1;
    if (to === from || to === OUTSIDE) return;
    const then = this.#after(this.#now, at, to);
    if (!this.#table.add(then, this.#current)) return;
    const message = this.#locals.at(to).violation ?? this.#judge(then);
    this.#violation ??=
      message === undefined ? undefined : { message, trace: this.#traceOf(this.#table.count - 1) };
  }

  #judge(then: readonly number[]): string | undefined {
    const views = then.map((local) => this.#locals.at(local).view);
    const name = views.join();
    if (this.#judged.has(name)) return this.#judged.get(name);
    const fault = faultOf(views.map((view) => this.#locals.views[view] as View));
    this.#judged.set(name, fault);
    return fault;
  }

  /** The state after a step, under the ids that make it the first of all that are alike. */
  #after(now: readonly number[], replica: number, to: number): readonly number[] {
    const then = this.#then;
    for (let at = 0; at < now.length; at += 1) then[at] = at === replica ? to : (now[at] as number);
    if (this.#namings.length === 0) return then;
    const plain = [...then];
    for (const naming of this.#namings) {
      const other = this.#other;
      for (const [at, local] of plain.entries())
        other[(naming.ids[at] as number) - 1] = this.#locals.renamed(local, naming);
      if (isBefore(other, then)) for (let at = 0; at < then.length; at += 1) then[at] = other[at] as number;
    }
    return then;
  }

  /** The way to a state, as one group would go it: states in the table have ids of their own. */
  #traceOf(state: number): string[] {
    const way: number[] = [];
    for (let at = state; this.#table.parentOf(at) !== NO_STATE; at = this.#table.parentOf(at))
      way.unshift(at);
    const now: number[] = [];
    this.#table.read(0, now);
    return way.map((next) => this.#retrace(now, next));
  }

  #retrace(now: number[], next: number): string {
    const wanted: number[] = [];
    this.#table.read(next, wanted);
    for (const [at, from] of now.entries()) {
      const received = now.flatMap((local) => this.#locals.at(local).sentTo[at] ?? []);
      for (const input of [...this.#locals.at(from).inputs, ...this.#locals.readInputs, ...received]) {
        const to = this.#locals.next(from, input);
        if (to === from || to === OUTSIDE) continue;
        if (this.#after(now, at, to).some((local, index) => local !== wanted[index])) continue;
        now[at] = to;
        return `${at + 1} ${this.#locals.text(input)}\n      → ${this.#locals.describe(to)}`;
      }
    }
    throw new InvariantError('a state that no step leads to', { next });
  }
}

/** One exploration in the form of a run of a seed; there is no chance in it, so one seed says all. */
export function exploreSeed(
  bounds: Partial<Bounds>,
): { readonly checker: string; readonly atMs: number; readonly message: string }[] {
  const { violation } = new Explorer({ ...DEFAULT_BOUNDS, ...bounds }).run();
  if (violation === undefined) return [];
  return [{ checker: 'explorer', atMs: 0, message: `${violation.message}, ${violation.trace.length} steps` }];
}

function isBefore(one: readonly number[], other: readonly number[]): boolean {
  for (let at = 0; at < one.length; at += 1) {
    const difference = (one[at] as number) - (other[at] as number);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

const LIMITS = { timeout: 'timeouts', heartbeat: 'heartbeats', crash: 'crashes', read: 'reads' } as const;
