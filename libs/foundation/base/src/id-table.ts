const CAPACITY_MIN = 16;
/** Spreads neighbouring ids over the table: 2^32 divided by the golden ratio. */
const SPREAD = 0x9e3779b1;
/** A walk to a free slot that takes more steps than this, in a table that is half empty, is no chance. */
const STEPS_MAX = 64;

/**
 * Values by numeric id, for things that come and go by the thousand: open calls, requests under way. What
 * `Map` does too, but without its price in garbage: V8 leaves in each hash table that a `Map` outgrew a
 * pointer to the table that replaced it. Once one such table has reached the old generation, every table
 * after it, and so every value that was ever in the map, survives all young collections until the next full
 * one. A client under load spent a third of its time on copying such corpses.
 *
 * Ids are spread so that those that count up lie best. Whoever can choose them could make n of them cost n *
 * n steps (Crosby and Wallach, 2003): once they collide as chance would never have it, all are spread anew,
 * by a hash that goes with a secret.
 *
 * Open addressing with linear probing; deletion moves the values behind up, so there are no tombstones. Grows
 * by doubling, never shrinks: bound the number of entries.
 */
export class IdTable<Value extends object> {
  #ids = new Float64Array(CAPACITY_MIN);
  #values: (Value | undefined)[] = emptySlots(CAPACITY_MIN);
  #mask = CAPACITY_MIN - 1;
  #size = 0;
  readonly #seed: number;
  #isDefended = false;

  /** `seed`: 32 bits; a secret where ids come from outside. */
  constructor(seed = 0) {
    this.#seed = seed;
  }

  get size(): number {
    return this.#size;
  }

  /** Ids have collided so often that they were chosen to. */
  get isDefended(): boolean {
    return this.#isDefended;
  }

  get(id: number): Value | undefined {
    const values = this.#values;
    for (let slot = this.#home(id); ; slot = (slot + 1) & this.#mask) {
      const value = values[slot];
      if (value === undefined || this.#ids[slot] === id) return value;
    }
  }

  has(id: number): boolean {
    return this.get(id) !== undefined;
  }

  /** `id`: any safe integer. Replaces what is there. */
  set(id: number, value: Value): void {
    if ((this.#size + 1) * 2 > this.#values.length) this.#respread(this.#values.length * 2);
    const home = this.#home(id);
    let slot = home;
    while (this.#values[slot] !== undefined && this.#ids[slot] !== id) slot = (slot + 1) & this.#mask;
    if (((slot - home) & this.#mask) > STEPS_MAX && !this.#isDefended) {
      this.#isDefended = true;
      this.#respread(this.#values.length);
      this.set(id, value);
      return;
    }
    if (this.#values[slot] === undefined) this.#size += 1;
    this.#ids[slot] = id;
    this.#values[slot] = value;
  }

  /** Removes the value of an id; answers whether there was one. */
  delete(id: number): boolean {
    const values = this.#values;
    const mask = this.#mask;
    let hole = this.#home(id);
    while (values[hole] !== undefined && this.#ids[hole] !== id) hole = (hole + 1) & mask;
    if (values[hole] === undefined) return false;
    this.#size -= 1;
    for (let slot = (hole + 1) & mask; values[slot] !== undefined; slot = (slot + 1) & mask) {
      const moved = this.#ids[slot] as number;
      // Whoever is at home behind the hole must stay there, or a search would stop before it.
      if (((slot - this.#home(moved)) & mask) < ((slot - hole) & mask)) continue;
      values[hole] = values[slot];
      this.#ids[hole] = moved;
      hole = slot;
    }
    values[hole] = undefined;
    return true;
  }

  clear(): void {
    this.#values.fill(undefined);
    this.#size = 0;
  }

  /** Visits all values, in no particular order. The table must not change meanwhile. */
  forEach(visit: (value: Value) => void): void {
    for (const value of this.#values) if (value !== undefined) visit(value);
  }

  /** All values as they are now, by ascending id. */
  sorted(): Value[] {
    const slots: number[] = [];
    for (let slot = 0; slot <= this.#mask; slot += 1) if (this.#values[slot] !== undefined) slots.push(slot);
    slots.sort((one, other) => (this.#ids[one] as number) - (this.#ids[other] as number));
    return slots.map((slot) => this.#values[slot] as Value);
  }

  #home(id: number): number {
    if (this.#isDefended) return hashId(id, this.#seed) & this.#mask;
    return (Math.imul(id, SPREAD) >>> 7) & this.#mask;
  }

  #respread(capacity: number): void {
    const [ids, values] = [this.#ids, this.#values];
    this.#ids = new Float64Array(capacity);
    this.#values = emptySlots(capacity);
    this.#mask = this.#values.length - 1;
    this.#size = 0;
    for (let slot = 0; slot < values.length; slot += 1) {
      const value = values[slot];
      if (value !== undefined) this.set(ids[slot] as number, value);
    }
  }
}

/** 32 bits that all bits of a safe integer and of the seed have a part in. */
export function hashId(id: number, seed: number): number {
  let hash = Math.imul(id ^ seed, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15) ^ (id / 4294967296), 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 13), 0x9e3779b1);
  return hash ^ (hash >>> 16);
}

function emptySlots<Value>(count: number): (Value | undefined)[] {
  return new Array<Value | undefined>(count).fill(undefined);
}
