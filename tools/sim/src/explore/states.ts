const FREE = 0;

/**
 * States of the group in the order in which they were found, each with the state that it was found from.
 * Exact: two states are never taken for one. 4 bytes per replica and 12 more for each, twice that while it
 * grows.
 */
export class StateTable {
  readonly #nodes: number;
  #members: Uint32Array;
  #parents: Uint32Array;
  /** Open addressing: number of a state plus one. */
  #slots: Uint32Array;
  #count = 0;

  constructor(nodes: number, expected = 1 << 16) {
    this.#nodes = nodes;
    this.#members = new Uint32Array(expected * nodes);
    this.#parents = new Uint32Array(expected);
    this.#slots = new Uint32Array(expected * 2);
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a state unless it is known; true when it was new. */
  add(locals: readonly number[], parent: number): boolean {
    const slot = this.#find(locals);
    if (this.#slots[slot] !== FREE) return false;
    const number = this.#count;
    if (number === this.#parents.length) {
      this.#grow();
      return this.add(locals, parent);
    }
    for (let at = 0; at < this.#nodes; at += 1)
      this.#members[number * this.#nodes + at] = locals[at] as number;
    this.#parents[number] = parent;
    this.#slots[slot] = number + 1;
    this.#count += 1;
    return true;
  }

  /** Writes the replicas of a state into `locals`. */
  read(state: number, locals: number[]): void {
    const from = state * this.#nodes;
    for (let at = 0; at < this.#nodes; at += 1) locals[at] = this.#members[from + at] as number;
  }

  parentOf(state: number): number {
    return this.#parents[state] as number;
  }

  #find(locals: readonly number[]): number {
    const mask = this.#slots.length - 1;
    let slot = hash(locals) & mask;
    for (;;) {
      const held = this.#slots[slot] as number;
      if (held === FREE || this.#isAt(held - 1, locals)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isAt(state: number, locals: readonly number[]): boolean {
    const from = state * this.#nodes;
    for (let at = 0; at < this.#nodes; at += 1) if (this.#members[from + at] !== locals[at]) return false;
    return true;
  }

  #grow(): void {
    const size = this.#parents.length * 2;
    this.#members = widened(this.#members, size * this.#nodes);
    this.#parents = widened(this.#parents, size);
    this.#slots = new Uint32Array(size * 2);
    const locals: number[] = [];
    for (let state = 0; state < this.#count; state += 1) {
      this.read(state, locals);
      this.#slots[this.#find(locals)] = state + 1;
    }
  }
}

function widened(old: Uint32Array, size: number): Uint32Array {
  const wide = new Uint32Array(size);
  wide.set(old);
  return wide;
}

function hash(locals: readonly number[]): number {
  let mixed = 0x9e3779b9;
  for (const local of locals) {
    mixed = Math.imul(mixed ^ local, 0x85ebca6b);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0xc2b2ae35);
    mixed ^= mixed >>> 13;
  }
  return mixed >>> 0;
}
