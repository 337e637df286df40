import { clearBit, hasBit, setBit, spentOf, type Configuration } from './frontier.js';
import { GARBAGE, type Known, type Model, type UnknownKind } from './model.js';

function listIn<K, T>(map: Map<K, T[]>, key: K): T[] {
  let list = map.get(key);
  if (list === undefined) map.set(key, (list = []));
  return list;
}

function removeFrom<K, T>(map: Map<K, T[]>, key: K, item: T): void {
  const list = map.get(key) as T[];
  list.splice(list.indexOf(item), 1);
  if (list.length === 0) map.delete(key);
}

function countIn<K>(map: Map<K, number>, key: K, by: number): void {
  const count = (map.get(key) ?? 0) + by;
  if (count === 0) map.delete(key);
  else map.set(key, count);
}

const NONE: readonly never[] = [];

/**
 * What is open at one moment of the sweep, the same for all configurations: operations that were invoked and
 * have not returned, and the supply of those whose outcome is unknown.
 */
export class OpenOperations {
  readonly #model: Model;
  /** From more than this many of one unknown kind on, their number no longer counts. */
  readonly #plentyAbove: number;
  /** By the value they want; those that change nothing, and those that replace it. */
  readonly #observers = new Map<number, Known[]>();
  readonly #replacers = new Map<number, Known[]>();
  /** By the value they give, the one that must happen first in front. */
  readonly #writes = new Map<number, Known[]>();
  readonly #supply: Int32Array;
  readonly #unknownWrites = new Map<number, number>();
  readonly #unknownByWant = new Map<number, number[]>();
  readonly #unknownByGift = new Map<number, number[]>();
  readonly #unknownAdds: number[] = [];
  /** Operations not invoked yet, by the value they want. */
  readonly #coming = new Map<number, number>();
  readonly #wantedByUnknown = new Set<number>();
  /** Operations not invoked yet, and unknown ones at any time, by the value they give. */
  readonly #comingGifts = new Map<number, number>();
  readonly #givenByUnknown = new Set<number>();
  readonly writeMask: Int32Array;

  constructor(model: Model, plentyAbove: number) {
    this.#model = model;
    this.#plentyAbove = plentyAbove;
    this.#supply = new Int32Array(model.unknownKinds.length);
    this.writeMask = new Int32Array((model.slots + 31) >>> 5);
    for (const event of model.events) {
      if (event.type !== 'invoke') continue;
      const { kind, wants, gives } = event.known;
      for (const value of wants) countIn(this.#coming, value, 1);
      if (kind !== 'observe') countIn(this.#comingGifts, gives, 1);
    }
    for (const { kind, wants, gives } of model.unknownKinds) {
      if (kind === 'cas') this.#wantedByUnknown.add(wants);
      this.#givenByUnknown.add(gives);
    }
  }

  invoke(known: Known): void {
    const { kind, wants, gives } = known;
    if (kind !== 'observe') countIn(this.#comingGifts, gives, -1);
    for (const value of wants) countIn(this.#coming, value, -1);
    this.open(known);
  }

  /** Takes back an invocation. */
  uninvoke(known: Known): void {
    const { kind, wants, gives } = known;
    this.finish(known);
    if (kind !== 'observe') countIn(this.#comingGifts, gives, 1);
    for (const value of wants) countIn(this.#coming, value, 1);
  }

  /** The operation is open: just invoked, or its return is taken back. */
  open(known: Known): void {
    const { kind, wants, gives, slot } = known;
    if (kind === 'write') {
      const list = listIn(this.#writes, gives);
      const place = list.findIndex(({ deadline }) => deadline > known.deadline);
      list.splice(place < 0 ? list.length : place, 0, known);
      setBit(this.writeMask, slot);
      return;
    }
    for (const value of wants)
      listIn(kind === 'observe' ? this.#observers : this.#replacers, value).push(known);
  }

  /** Notes that the operation has returned. */
  finish(known: Known): void {
    const { kind, wants, gives, slot } = known;
    if (kind === 'write') {
      removeFrom(this.#writes, gives, known);
      clearBit(this.writeMask, slot);
      return;
    }
    for (const value of wants) {
      removeFrom(kind === 'observe' ? this.#observers : this.#replacers, value, known);
    }
  }

  /** One more operation of an unknown kind may happen from now on. */
  offer(kind: number): void {
    const before = this.#supply[kind] as number;
    this.#supply[kind] = before + 1;
    if (before > 0) return;
    const unknown = this.#model.unknownKinds[kind] as UnknownKind;
    if (unknown.kind === 'write') this.#unknownWrites.set(unknown.gives, kind);
    else if (unknown.kind === 'add') this.#unknownAdds.push(kind);
    else {
      listIn(this.#unknownByWant, unknown.wants).push(kind);
      listIn(this.#unknownByGift, unknown.gives).push(kind);
    }
  }

  /** Takes back an offer. */
  withdraw(kind: number): void {
    const after = (this.#supply[kind] as number) - 1;
    this.#supply[kind] = after;
    if (after > 0) return;
    const unknown = this.#model.unknownKinds[kind] as UnknownKind;
    if (unknown.kind === 'write') this.#unknownWrites.delete(unknown.gives);
    else if (unknown.kind === 'add') this.#unknownAdds.splice(this.#unknownAdds.indexOf(kind), 1);
    else {
      removeFrom(this.#unknownByWant, unknown.wants, kind);
      removeFrom(this.#unknownByGift, unknown.gives, kind);
    }
  }

  isPlenty(kind: number): boolean {
    return (this.#supply[kind] as number) > this.#plentyAbove;
  }

  #isLeft(kind: number, { spent }: Configuration): boolean {
    return this.isPlenty(kind) || spentOf(spent, kind) < (this.#supply[kind] as number);
  }

  observersOf(value: number): readonly Known[] {
    return this.#observers.get(value) ?? NONE;
  }

  replacersOf(value: number): readonly Known[] {
    return this.#replacers.get(value) ?? NONE;
  }

  /** Visits the open operations that change the state. */
  *changes(): Generator<Known> {
    for (const list of this.#writes.values()) yield* list;
    for (const list of this.#replacers.values()) yield* list;
  }

  /** The write of the value that has not happened visibly and must happen first. */
  writeOf(value: number, { used }: Configuration): Known | undefined {
    return this.#writes.get(value)?.find(({ slot }) => !hasBit(used, slot));
  }

  unknownWriteOf(value: number, configuration: Configuration): number | undefined {
    const kind = this.#unknownWrites.get(value);
    return kind !== undefined && this.#isLeft(kind, configuration) ? kind : undefined;
  }

  unknownReplacersOf(value: number, configuration: Configuration): readonly number[] {
    return this.#unknownByWant.get(value)?.filter((kind) => this.#isLeft(kind, configuration)) ?? NONE;
  }

  unknownAdds(configuration: Configuration): readonly number[] {
    return this.#unknownAdds.filter((kind) => this.#isLeft(kind, configuration));
  }

  /** Whether any answer may still depend on whether the value was there. */
  isWanted(value: number, { covered }: Configuration): boolean {
    if (this.#model.hasAdds || this.#coming.has(value) || this.#wantedByUnknown.has(value)) return true;
    const isOpen = ({ slot }: Known): boolean => !hasBit(covered, slot);
    return this.observersOf(value).some(isOpen) || this.replacersOf(value).some(isOpen);
  }

  /**
   * Whether the state may be left: nobody will miss its value, or somebody may bring it back. The other way
   * lies no explanation.
   */
  mayLeave(configuration: Configuration): boolean {
    const { state, covered, used } = configuration;
    if (state === GARBAGE || this.#model.hasAdds) return true;
    if (this.#comingGifts.has(state) || this.#givenByUnknown.has(state)) return true;
    const isOpen = ({ slot }: Known): boolean => !hasBit(covered, slot);
    const missing = this.replacersOf(state).filter(isOpen).length;
    // One that replaces the value may be what leaves it.
    if (!this.#coming.has(state) && missing <= 1 && !this.observersOf(state).some(isOpen)) return true;
    if (this.#writes.get(state)?.some(({ slot }) => !hasBit(used, slot)) === true) return true;
    for (const list of this.#replacers.values()) {
      if (list.some((each) => each.gives === state && isOpen(each))) return true;
    }
    return false;
  }

  /**
   * Marks what may happen unnoticed right before a write that is about to happen: writes, and whole visits
   * to a value that only open operations observe and nobody later misses.
   */
  passBy(covered: Int32Array, configuration: Configuration, towards: number): void {
    for (const [at, word] of this.writeMask.entries()) covered[at] = (covered[at] as number) | word;
    if (this.#model.hasAdds) return;
    for (const [value, observers] of this.#observers) {
      if (value === towards || this.#coming.has(value) || this.#wantedByUnknown.has(value)) continue;
      if (this.replacersOf(value).some(({ slot }) => !hasBit(configuration.covered, slot))) continue;
      if (observers.every(({ slot }) => hasBit(covered, slot))) continue;
      const canVisit =
        this.writeOf(value, configuration) !== undefined ||
        this.unknownWriteOf(value, configuration) !== undefined;
      if (canVisit) for (const { slot } of observers) setBit(covered, slot);
    }
  }

  /**
   * Values that an open operation waits for, directly or through operations of unknown outcome. Visiting any
   * other value before the next return achieves nothing: nobody would be there to see it.
   */
  usefulValues(configuration: Configuration): Set<number> {
    const useful = new Set<number>();
    for (const map of [this.#observers, this.#replacers]) {
      for (const [value, waiting] of map) {
        if (waiting.some(({ slot }) => !hasBit(configuration.covered, slot))) useful.add(value);
      }
    }
    // An increment of unknown outcome may lead on from any number.
    if (useful.size > 0 && this.unknownAdds(configuration).length > 0) {
      for (const gifts of [this.#writes, this.#unknownWrites, this.#unknownByGift]) {
        for (const value of gifts.keys()) useful.add(value);
      }
    }
    // A set grows while it is walked.
    for (const value of useful) {
      for (const kind of this.#unknownByGift.get(value) ?? NONE) {
        if (!this.#isLeft(kind, configuration)) continue;
        useful.add((this.#model.unknownKinds[kind] as UnknownKind).wants);
      }
    }
    return useful;
  }
}
