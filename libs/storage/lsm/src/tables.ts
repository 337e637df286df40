import { assert } from '@cairn/base';
import type { Clock, Disk } from '@cairn/ports';

import { BlockCache } from './block-cache.js';
import { bodyOf, isPlainBlock } from './block-read.js';
import { BLOCK_TRAILER_BYTES, type BlockView } from './block.js';
import type { Fetched, Missing } from './fetched.js';
import { ReadGate } from './read-gate.js';
import type { TableReads } from './run-cursor.js';
import { metaBytesOf, metaFrom, type TableMeta } from './table-format.js';
import type { EngineDirectory, TableSummary } from './table-summary.js';
import { damagedBlock, openTable, readMeta, type Table } from './table.js';

export interface TablesOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly blockCacheBytes: number;
  readonly metaCacheBytes: number;
  readonly blockBytes: number;
}

/** The files of tables: what is open, and what of them is in memory. */
export class Tables implements TableReads {
  readonly cache: BlockCache;
  readonly gate: ReadGate;
  readonly #options: TablesOptions;
  /** Tables whose meta is in memory; those at the front are considered for removal first. */
  readonly #withMeta = new Set<Table>();
  #metaBytes = 0;

  constructor(options: TablesOptions) {
    this.#options = options;
    this.cache = new BlockCache(options.blockCacheBytes, options.blockBytes);
    this.gate = new ReadGate(options.clock);
  }

  get metaBytes(): number {
    return this.#metaBytes;
  }

  /** Opens a table, and brings its meta into memory while there is room. Throws CORRUPTION. */
  async open(place: EngineDirectory, summary: TableSummary): Promise<Table> {
    const { disk, metaCacheBytes } = this.#options;
    const table = await openTable(disk, place, summary);
    if (this.#metaBytes + metaBytesOf(table.footer) <= metaCacheBytes) await this.loadMeta(table);
    return table;
  }

  /** Closes and removes a table that nobody names any more. */
  async remove(table: Table): Promise<void> {
    assert(table.references === 0, 'a table goes when nobody names it', { table: table.summary.number });
    this.#dropMeta(table);
    await table.file.close();
    await this.#options.disk.remove(table.path);
  }

  async close(table: Table): Promise<void> {
    this.#dropMeta(table);
    await table.file.close();
  }

  /** The meta section, if it is in memory. */
  keptMeta(table: Table): TableMeta | undefined {
    table.wasUsed = true;
    return table.meta;
  }

  /** The meta section; undefined when it would have to be waited for. Throws CORRUPTION. */
  metaNow(table: Table): TableMeta | undefined {
    const kept = this.keptMeta(table);
    if (kept !== undefined) return kept;
    if (!this.gate.isOpen) return undefined;
    const length = metaBytesOf(table.footer);
    const bytes = new Uint8Array(length);
    const read = this.gate.measure(() => table.file.readNow(bytes, 0, length, table.footer.metaAt));
    return this.#keepMeta(table, metaFrom(bytes.subarray(0, read), table.footer, table.path));
  }

  /** The same, waiting for the disk. */
  async loadMeta(table: Table): Promise<TableMeta> {
    return table.meta ?? this.#keepMeta(table, await readMeta(table));
  }

  #keepMeta(table: Table, meta: TableMeta): TableMeta {
    if (table.meta !== undefined) return table.meta;
    const { metaCacheBytes } = this.#options;
    // Each round drops one or gives one its second chance, so this ends.
    while (this.#withMeta.size > 0 && this.#metaBytes + meta.bytes > metaCacheBytes) this.#turnOut();
    if (this.#metaBytes + meta.bytes > metaCacheBytes) return meta;
    table.meta = meta;
    this.#withMeta.add(table);
    this.#metaBytes += meta.bytes;
    return meta;
  }

  /** Drops the oldest meta, unless it was used since it was looked at the last time. */
  #turnOut(): void {
    for (const oldest of this.#withMeta) {
      if (!oldest.wasUsed) {
        this.#dropMeta(oldest);
        return;
      }
      oldest.wasUsed = false;
      this.#withMeta.delete(oldest);
      this.#withMeta.add(oldest);
      return;
    }
  }

  #dropMeta(table: Table): void {
    if (table.meta === undefined) return;
    this.#withMeta.delete(table);
    this.#metaBytes -= table.meta.bytes;
    table.meta = undefined;
  }

  /**
   * Lets `view` look at a block, for a single read. False when the block would have to be waited for. What
   * the view shows is there until the next call. Throws CORRUPTION.
   */
  blockNow(table: Table, meta: TableMeta, block: number, view: BlockView): boolean {
    const { cache } = this;
    const { number } = table.summary;
    const kept = cache.find(number, block);
    if (kept >= 0) {
      view.set(cache.bytes, cache.startOf(kept), cache.endOf(kept));
      return true;
    }
    if (!this.gate.isOpen) return false;
    const position = meta.positionOf(block);
    const length = meta.positionOf(block + 1) - position;
    const isKept = cache.fits(length);
    const bytes = isKept ? cache.bytes : new Uint8Array(length);
    const start = isKept ? cache.freeAt : 0;
    const read = this.gate.measure(() => table.file.readNow(bytes, start, length, position));
    if (read !== length) throw damagedBlock(table, position, 'is cut off');
    if (isPlainBlock(bytes, start, start + length)) {
      const bodyBytes = length - BLOCK_TRAILER_BYTES;
      if (isKept) cache.keep(number, block, bodyBytes);
      view.set(bytes, start, start + bodyBytes);
      return true;
    }
    const body = bodyOf(table, position, bytes.subarray(start, start + length));
    this.#keepBlock(number, block, body);
    view.set(body, 0, body.length);
    return true;
  }

  /** Waits for what a read misses, for that read and, while there is room, for all. Throws CORRUPTION. */
  async fetch(missing: Missing, fetched: Fetched): Promise<void> {
    const { table } = missing;
    if (missing.type === 'meta') {
      fetched.addMeta(table, await this.loadMeta(table));
      return;
    }
    const { meta, block } = missing;
    const { number } = table.summary;
    const position = meta.positionOf(block);
    const length = meta.positionOf(block + 1) - position;
    const bytes = await this.read(table, position, length);
    if (bytes.length !== length) throw damagedBlock(table, position, 'is cut off');
    const body = bodyOf(table, position, bytes);
    fetched.addBlock(table, block, body);
    // Another read may have waited for the same.
    if (this.cache.find(number, block) < 0) this.#keepBlock(number, block, body);
  }

  /** Keeps a copy of a body, if it fits. */
  #keepBlock(number: number, block: number, body: Uint8Array): void {
    const { cache } = this;
    if (!cache.fits(body.length)) return;
    cache.bytes.set(body, cache.freeAt);
    cache.keep(number, block, body.length);
  }

  readNow(table: Table, target: Uint8Array, position: number): boolean {
    if (!this.gate.isOpen) return false;
    const { length } = target;
    const read = this.gate.measure(() => table.file.readNow(target, 0, length, position));
    if (read !== length) throw damagedBlock(table, position, 'is cut off');
    return true;
  }

  read(table: Table, position: number, length: number): Promise<Uint8Array> {
    return table.file.read(position, length);
  }
}
