import { createHash } from 'node:crypto';

import { InvariantError } from '@cairn/base';
import type { Message } from '@cairn/raft';
import { entryText } from '@cairn/raft/testing';

import type { Bounds } from './bounds.js';
import {
  COUNTED,
  ExploredReplica,
  messageText,
  relabelled,
  type Counted,
  type Handed,
  type Input,
  type LocalInput,
} from './replica.js';

/** Beyond the bounds: nothing is explored behind it. */
export const OUTSIDE = -1;

/** What checkers compare between replicas. Equal ones have one number. */
export interface View {
  readonly id: number;
  readonly role: string;
  readonly term: number;
  readonly log: readonly string[];
  readonly durable: readonly string[];
  readonly handed: readonly Handed[];
  readonly led: ReadonlySet<number>;
}

/** Other ids for the replicas, and what is known of the world under them. */
export interface Naming {
  readonly ids: readonly number[];
  readonly locals: (number | undefined)[];
  readonly inputs: (number | undefined)[];
}

/** All orders of ids but the usual one. */
export function namingsOf(nodes: number): Naming[] {
  const orders = (ids: readonly number[]): number[][] =>
    ids.length === 0
      ? [[]]
      : ids.flatMap((id) => orders(ids.filter((other) => other !== id)).map((rest) => [id, ...rest]));
  const usual = Array.from({ length: nodes }, (_, at) => at + 1);
  return orders(usual)
    .slice(1)
    .map((ids) => ({ ids, locals: [], inputs: [] }));
}

/** One state of one replica. */
export interface Local {
  readonly view: number;
  /** Inputs that mean something here, by their number. */
  readonly inputs: readonly number[];
  /** Messages that it ever sent, by their number, to each replica. */
  readonly sentTo: readonly (readonly number[])[];
  readonly counts: Readonly<Record<Counted, number>>;
  readonly commit: number;
  /** Where it came from first: how it is built again. -1: its birth. */
  readonly parent: number;
  readonly input: number;
  /** What the replica itself found wrong on the way here. */
  readonly violation: string | undefined;
  /** By input: the next state, once it is known. */
  readonly next: Map<number, number>;
}

const LOCAL_TYPES: readonly Exclude<LocalInput['type'], 'read'>[] = [
  ...(['timeout', 'sync', 'propose', 'heartbeat', 'crash'] as const),
];

/**
 * The states of single replicas, and how inputs lead from one to the next. A replica is a function of its
 * inputs, so each step of the real core is taken once, however many states of the group it is part of.
 */
export class Locals {
  readonly all: Local[] = [];
  readonly inputs: Input[] = [];
  readonly views: View[] = [];
  /** Steps that led outside of the bounds. */
  outside = 0;
  readonly #bounds: Bounds;
  readonly #byFingerprint = new Map<string, number>();
  readonly #inputNumbers = new Map<string, number>();
  readonly #viewNumbers = new Map<string, number>();
  readonly readInputs: readonly number[];
  /** Replicas as they are in a state, for whoever goes on from there first. */
  readonly #spare = new Map<number, ExploredReplica>();

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
    for (const type of LOCAL_TYPES) this.#inputNumber(type, { type });
    const floors = Array.from({ length: bounds.reads > 0 ? bounds.entries + 1 : 0 }, (_, floor) => floor);
    this.readInputs = floors.map((floor) => this.#inputNumber(`read ${floor}`, { type: 'read', floor }));
  }

  /** The states in which the replicas are created. */
  births(): number[] {
    return Array.from({ length: this.#bounds.nodes }, (_, at) => {
      return this.#keep(new ExploredReplica(at + 1, this.#bounds), -1, -1, undefined);
    });
  }

  at(local: number): Local {
    return this.all[local] as Local;
  }

  input(number: number): Input {
    return this.inputs[number] as Input;
  }

  /** The state after the input; the same when nothing changed, `OUTSIDE` beyond the bounds. */
  next(local: number, input: number): number {
    const { next } = this.at(local);
    let known = next.get(input);
    if (known === undefined) {
      known = this.#step(local, input);
      next.set(input, known);
    }
    return known;
  }

  /**
   * The state of the replica that is there instead when the replicas have other ids; one place per `naming`.
   */
  renamed(local: number, naming: Naming): number {
    const known = naming.locals[local];
    if (known !== undefined) return known;
    const { parent, input, view } = this.at(local);
    const renamed =
      parent < 0
        ? (naming.ids[(this.views[view] as View).id - 1] as number) - 1
        : this.next(this.renamed(parent, naming), this.#renamedInput(input, naming));
    naming.locals[local] = renamed;
    return renamed;
  }

  #renamedInput(number: number, naming: Naming): number {
    let known = naming.inputs[number];
    if (known === undefined) {
      const input = this.input(number);
      const message = input.type === 'message' ? relabelled(input.message, naming.ids) : undefined;
      known =
        message === undefined
          ? number
          : this.#inputNumber(messageText(message), { type: 'message', message });
      naming.inputs[number] = known;
    }
    return known;
  }

  /** The number of the read that asks while `floor` is committed. */
  readAt(floor: number): number {
    return this.readInputs[floor] as number;
  }

  #step(local: number, input: number): number {
    const replica = this.#build(local);
    let violation: string | undefined;
    try {
      replica.apply(this.input(input));
    } catch (error) {
      if (!(error instanceof InvariantError)) throw error;
      violation = error.message;
    }
    const { terms, entries } = this.#bounds;
    const isOutside = replica.node.term > terms || replica.storage.lastIndex() > entries;
    if (isOutside && violation === undefined) {
      this.outside += 1;
      return OUTSIDE;
    }
    return this.#keep(replica, local, input, violation);
  }

  /** The replica in a state, from its birth on. */
  #build(local: number): ExploredReplica {
    const path: number[] = [];
    let at = local;
    let replica: ExploredReplica | undefined;
    for (;;) {
      replica = this.#spare.get(at);
      if (replica !== undefined) {
        this.#spare.delete(at);
        break;
      }
      const { parent, input } = this.at(at);
      if (parent < 0) {
        replica = new ExploredReplica(this.views[this.at(at).view]?.id ?? 0, this.#bounds);
        break;
      }
      path.push(input);
      at = parent;
    }
    for (const input of path.reverse()) replica.apply(this.input(input));
    return replica;
  }

  #keep(replica: ExploredReplica, parent: number, input: number, violation: string | undefined): number {
    const text = `${replica.fingerprint()}\n${violation}`;
    const print = createHash('sha1').update(text).digest('base64');
    const known = this.#byFingerprint.get(print);
    if (known !== undefined) return known;
    const number = this.all.length;
    this.#byFingerprint.set(print, number);
    this.all.push({
      view: this.#viewOf(replica),
      inputs: violation === undefined ? this.#inputsOf(replica) : [],
      sentTo: this.#sentBy(replica),
      counts: { ...replica.counts },
      commit: replica.node.commitIndex,
      ...{ parent, input, violation },
      next: new Map(),
    });
    if (violation === undefined && this.#spare.size < 50_000) this.#spare.set(number, replica);
    return number;
  }

  #inputsOf(replica: ExploredReplica): number[] {
    return LOCAL_TYPES.filter((type) => replica.accepts(type, this.#bounds)).map((type) =>
      this.#inputNumber(type, { type }),
    );
  }

  #sentBy(replica: ExploredReplica): number[][] {
    const sentTo: number[][] = Array.from({ length: this.#bounds.nodes }, () => []);
    for (const [text, message] of replica.sent)
      sentTo[message.to - 1]?.push(this.#inputNumber(text, { type: 'message', message }));
    return sentTo;
  }

  #inputNumber(text: string, input: Input): number {
    let known = this.#inputNumbers.get(text);
    if (known === undefined) {
      known = this.inputs.length;
      this.inputs.push(input);
      this.#inputNumbers.set(text, known);
    }
    return known;
  }

  #viewOf(replica: ExploredReplica): number {
    const view: View = {
      id: replica.id,
      role: replica.node.role,
      term: replica.node.term,
      log: replica.log.map(entryText),
      durable: replica.storage.durable.entries.map(entryText),
      handed: [...replica.handed.values()],
      led: new Set(replica.led),
    };
    const { id, role, term, log, durable, led } = view;
    // Of the terms only those of leaders are compared.
    const seen = role === 'leader' ? `leader of ${term}` : '';
    const handed = view.handed.map(({ entry, inTerm }) => `${entryText(entry)}@${inTerm}`);
    const text = [id, seen, log.join(), durable.join(), handed.join(), [...led].join()].join('\n');
    let known = this.#viewNumbers.get(text);
    if (known === undefined) {
      known = this.views.length;
      this.views.push(view);
      this.#viewNumbers.set(text, known);
    }
    return known;
  }

  describe(local: number): string {
    const { view, commit } = this.at(local);
    const { id, role, term, log, durable } = this.views[view] as View;
    const where = `log [${log.join(' ')}], durable ${durable.length}, commit ${commit}`;
    return `${id}: ${role} of term ${term} or later, ${where}`;
  }

  /** An input, for people. */
  text(input: number): string {
    const known = this.input(input);
    if (known.type === 'message') return `gets ${spoken(known.message)}`;
    return known.type === 'read' ? `is asked for a read at ${known.floor}` : known.type;
  }
}

/** How much of each bound states of a group have used up together. */
export function usedOf(locals: readonly Local[]): Record<Counted, number> {
  const used: Record<Counted, number> = { timeout: 0, heartbeat: 0, crash: 0, read: 0 };
  for (const { counts } of locals) for (const what of COUNTED) used[what] += counts[what];
  return used;
}

function spoken(message: Message): string {
  return messageText(message).replaceAll('"', '');
}
