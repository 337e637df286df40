import { assert } from '@cairn/base';

import type { Memtable } from './memtable.js';
import type { Version } from './version.js';

/** A memtable, counted: its memory is used again when nobody reads it any more. */
export class CountedMemtable {
  readonly table: Memtable;
  #references = 0;
  readonly #onUnused: (table: Memtable) => void;

  constructor(table: Memtable, onUnused: (table: Memtable) => void) {
    this.table = table;
    this.#onUnused = onUnused;
  }

  get rowCount(): number {
    return this.table.rowCount;
  }

  retain(): void {
    this.#references += 1;
  }

  release(): void {
    assert(this.#references > 0, 'a memtable is released as often as it is retained');
    this.#references -= 1;
    if (this.#references === 0) this.#onUnused(this.table);
  }
}

/** As much of a memtable as there was when the view was taken. */
export interface MemtablePart {
  readonly memtable: CountedMemtable;
  readonly rowCount: number;
}

/** The whole engine as of some moment; holds on to it until `release`. */
export class View {
  /** Newest first. */
  readonly memtables: readonly MemtablePart[];
  readonly version: Version;

  constructor(memtables: readonly MemtablePart[], version: Version) {
    this.memtables = memtables;
    this.version = version;
    for (const { memtable } of memtables) memtable.retain();
    version.retain();
  }

  /** Once. */
  release(): void {
    for (const { memtable } of this.memtables) memtable.release();
    this.version.release();
  }
}
