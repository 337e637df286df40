import { assert } from '@cairn/base';
import type { VersionRecord } from './record.js';
import { RowArena } from './row-arena.js';

export const NO_PLACE = -1;

const SLOTS_LEAST = 1024;
/** Slots, of four, that may be taken before the table grows. */
const TAKEN_OF_FOUR_MAX = 3;
/** What a slot has instead of a place, both in units of eight bytes and one up. */
const FREE = 0;
const REMOVED = 0xffff_ffff;
const PLACE_UNIT = 8;

/** 32 bits of a name: FNV-1a, then mixed so that the low bits depend on all. */
export function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return mixed(hash);
}

/** `hashName` of a name that is given as bytes. */
export function hashNameBytes(name: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ (name[at] as number), 0x01000193);
  return mixed(hash);
}

function mixed(hash: number): number {
  const half = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (half ^ (half >>> 13)) >>> 0;
}

/**
 * Rows by name, up to 32 GiB of them: a table of places with open addressing, in memory that the collector
 * does not look at. A map of strings cost three misses of the processor's cache for each look, and its tables
 * were a hundred megabytes of garbage until the next full collection. Callers bring the hash, because they
 * look into several tables.
 */
export class RowTable {
  readonly #arena = new RowArena();
  /** Hash and place of each slot in turn. */
  #slots = new Uint32Array(SLOTS_LEAST * 2);
  #mask = SLOTS_LEAST - 1;
  #size = 0;
  /** Slots that are not free: rows, and what was removed. */
  #taken = 0;

  get size(): number {
    return this.#size;
  }

  /** The place of a row; `NO_PLACE` when it is not here. */
  find(name: string, hash: number): number {
    const slots = this.#slots;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const unit = slots[slot * 2 + 1] as number;
      if (unit === FREE) return NO_PLACE;
      if (unit === REMOVED || slots[slot * 2] !== hash) continue;
      const place = (unit - 1) * PLACE_UNIT;
      if (this.#arena.isNamed(place, name)) return place;
    }
  }

  /** The same for a name that is given as bytes. */
  findBy(name: Uint8Array, hash: number): number {
    const slots = this.#slots;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const unit = slots[slot * 2 + 1] as number;
      if (unit === FREE) return NO_PLACE;
      if (unit === REMOVED || slots[slot * 2] !== hash) continue;
      const place = (unit - 1) * PLACE_UNIT;
      if (this.#arena.isNamedBy(place, name)) return place;
    }
  }

  /** The row must not be here. */
  add(name: string, hash: number, version: VersionRecord): void {
    if ((this.#taken + 1) * 4 > (this.#mask + 1) * TAKEN_OF_FOUR_MAX) this.#makeRoom();
    const unit = this.#arena.add(name, version) / PLACE_UNIT + 1;
    assert(unit < REMOVED, 'a table of rows holds 32 GiB');
    this.#take(hash, unit);
    this.#size += 1;
  }

  /** Its room comes back with `clear`. */
  remove(hash: number, place: number): void {
    const unit = place / PLACE_UNIT + 1;
    let slot = hash & this.#mask;
    while (this.#slots[slot * 2 + 1] !== unit) slot = (slot + 1) & this.#mask;
    this.#slots[slot * 2 + 1] = REMOVED;
    this.#size -= 1;
  }

  read(place: number): VersionRecord {
    return this.#arena.read(place);
  }

  /** See `RowArena.view`. */
  view(place: number): VersionRecord {
    return this.#arena.view(place);
  }

  /** See `RowArena.replace`. */
  replace(place: number, version: VersionRecord): boolean {
    return this.#arena.replace(place, version);
  }

  /** What the row takes, its slot not counted. */
  bytesAt(place: number): number {
    return this.#arena.bytesAt(place);
  }

  /** All rows; `visit` may remove the one it is at. */
  forEach(visit: (name: string, hash: number, place: number) => void): void {
    for (let at = 0; at < this.#slots.length; at += 2) {
      const unit = this.#slots[at + 1] as number;
      if (unit === FREE || unit === REMOVED) continue;
      const place = (unit - 1) * PLACE_UNIT;
      visit(this.#arena.nameAt(place), this.#slots[at] as number, place);
    }
  }

  /** Keeps its memory. */
  clear(): void {
    this.#slots.fill(FREE);
    this.#arena.clear();
    this.#size = 0;
    this.#taken = 0;
  }

  #take(hash: number, unit: number): void {
    let slot = hash & this.#mask;
    while (this.#slots[slot * 2 + 1] !== FREE) slot = (slot + 1) & this.#mask;
    this.#slots[slot * 2] = hash;
    this.#slots[slot * 2 + 1] = unit;
    this.#taken += 1;
  }

  /** Without what was removed; larger when that would not help for long. */
  #makeRoom(): void {
    const before = this.#slots;
    const slots = (this.#mask + 1) * (this.#size * 2 > this.#mask ? 2 : 1);
    this.#slots = new Uint32Array(slots * 2);
    this.#mask = slots - 1;
    this.#taken = 0;
    for (let at = 0; at < before.length; at += 2) {
      const unit = before[at + 1] as number;
      if (unit !== FREE && unit !== REMOVED) this.#take(before[at] as number, unit);
    }
  }
}
