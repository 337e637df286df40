import type { TableMeta } from './table-format.js';
import type { Table } from './table.js';

/** What a read on the calling thread has to wait for. */
export type Missing =
  | { readonly type: 'meta'; readonly table: Table }
  | { readonly type: 'block'; readonly table: Table; readonly meta: TableMeta; readonly block: number };

interface FetchedTable {
  meta: TableMeta | undefined;
  readonly blocks: Map<number, Uint8Array>;
}

/**
 * What one waiting read has fetched so far. It keeps that for itself, because the caches may have no room, or
 * give it away before the read comes back to it.
 */
export class Fetched {
  readonly #tables = new Map<Table, FetchedTable>();

  metaOf(table: Table): TableMeta | undefined {
    return this.#tables.get(table)?.meta;
  }

  blockOf(table: Table, block: number): Uint8Array | undefined {
    return this.#tables.get(table)?.blocks.get(block);
  }

  addMeta(table: Table, meta: TableMeta): void {
    this.#entryOf(table).meta = meta;
  }

  addBlock(table: Table, block: number, bytes: Uint8Array): void {
    this.#entryOf(table).blocks.set(block, bytes);
  }

  #entryOf(table: Table): FetchedTable {
    let entry = this.#tables.get(table);
    if (entry === undefined) {
      entry = { meta: undefined, blocks: new Map() };
      this.#tables.set(table, entry);
    }
    return entry;
  }
}
