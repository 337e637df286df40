import { messageOf, rethrowInvariant } from '@cairn/base';
import type { Disk, Logger, Rng } from '@cairn/ports';

import { Manifest } from './manifest.js';
import { checkLevels } from './merge-policy.js';
import { numberOfTableName, type EngineDirectory, type TableSummary } from './table-summary.js';
import type { Table } from './table.js';
import type { Tables } from './tables.js';
import { Version, type Run } from './version.js';

export interface TableSetOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly tables: Tables;
  readonly logger: Logger;
  /** Asked when the directory is new. */
  readonly rng: Rng;
}

/**
 * The tables that make up the engine's durable state: the newest version, and its copy on disk. Changes come
 * one at a time.
 */
export class TableSet {
  /** Where its tables are. */
  readonly place: EngineDirectory;
  readonly #options: TableSetOptions;
  readonly #manifest: Manifest;
  #version: Version;
  #nextNumber: number;
  /** Files that are being removed. */
  readonly #removals = new Set<Promise<void>>();
  /** Tables that some version names that somebody reads, by number. */
  readonly #named = new Set<number>();
  #diskBytes = 0;
  /**
   * There may be files of tables that nothing names: something failed on the way to naming or removing them.
   */
  #hasOrphans = false;
  #onOrphan: () => void = ignore;

  private constructor(options: TableSetOptions, manifest: Manifest, nextNumber: number, runs: Run[]) {
    this.#options = options;
    this.#manifest = manifest;
    this.place = { directory: options.directory, directoryId: manifest.directoryId };
    this.#nextNumber = nextNumber;
    this.#version = this.#newVersion(runs);
  }

  /**
   * Opens what the manifest names and removes what it does not: leavings of jobs that a crash cut short.
   * Throws CORRUPTION when a table is missing or damaged.
   */
  static async open(options: TableSetOptions): Promise<TableSet> {
    const { disk, directory, tables } = options;
    const { manifest, state } = await Manifest.open(options);
    const place = { directory, directoryId: manifest.directoryId };
    const opened = new Map<number, Table>();
    try {
      const runs: Run[] = [];
      for (const { id, level, slices } of state?.runs ?? []) {
        const own = [];
        for (const { table: summary, from, to } of slices) {
          const table = opened.get(summary.number) ?? (await tables.open(place, summary));
          opened.set(summary.number, table);
          own.push({ table, from, to });
        }
        runs.push({ id, level, slices: own });
      }
      // A file that cannot be removed must not lie where a new table is to be written.
      const nextNumber = Math.max(state?.nextNumber ?? 1, 1 + (await largestNumber(disk, directory)));
      const set = new TableSet(options, manifest, nextNumber, runs);
      set.#hasOrphans = true;
      await set.collectOrphans();
      return set;
    } catch (error) {
      for (const table of opened.values()) await tables.close(table);
      await manifest.close();
      throw error;
    }
  }

  /** Of the files that are named by the newest version, or by one that somebody still reads. */
  get diskBytes(): number {
    return this.#diskBytes;
  }

  get version(): Version {
    return this.#version;
  }

  /** A number for a table or a run. */
  takeNumber(): number {
    this.#nextNumber += 1;
    return this.#nextNumber - 1;
  }

  openTable(summary: TableSummary): Promise<Table> {
    return this.#options.tables.open(this.place, summary);
  }

  get hasOrphans(): boolean {
    return this.#hasOrphans;
  }

  /** Called whenever a file may be left over that `collectOrphans` would remove. */
  whenOrphaned(callback: () => void): void {
    this.#onOrphan = callback;
  }

  /** Something failed that may have left a file of a table. */
  leftOver(): void {
    this.#hasOrphans = true;
    this.#onOrphan();
  }

  /**
   * Removes files of tables that no version names: leavings of jobs that failed or that a crash cut short,
   * and of removals that failed. Not while a job runs. What it cannot remove now stays for the next time;
   * while the manifest on disk may be another one than is known here, everything stays.
   */
  async collectOrphans(): Promise<void> {
    if (!this.#hasOrphans || !this.#manifest.isCertain) return;
    const { disk, directory, logger } = this.#options;
    this.#hasOrphans = false;
    try {
      for (const name of await disk.list(directory)) {
        const number = numberOfTableName(name);
        if (number !== undefined && !this.#named.has(number)) await disk.remove(`${directory}/${name}`);
      }
    } catch (error) {
      rethrowInvariant(error);
      this.#hasOrphans = true;
      logger.warn('tables that nothing names could not be removed', { error: messageOf(error) });
    }
  }

  /**
   * Makes a changed list of runs durable. Whoever asks for the version from then on gets it; `onVisible` runs
   * in the same moment.
   */
  async install(runs: readonly Run[], onVisible: () => void = ignore): Promise<void> {
    checkLevels(runs);
    try {
      await this.#write(runs);
    } catch (error) {
      await this.#giveUp(runs);
      throw error;
    }
    const before = this.#version;
    this.#version = this.#newVersion(runs);
    onVisible();
    before.release();
  }

  async #write(runs: readonly Run[]): Promise<void> {
    await this.#manifest.write({
      nextNumber: this.#nextNumber,
      runs: runs.map(({ id, level, slices }) => ({
        id,
        level,
        slices: slices.map(({ table, from, to }) => ({ table: table.summary, from, to })),
      })),
    });
  }

  /**
   * After a write of the manifest that failed: writes what is known once more, so that the files which only
   * that one named may go. That takes no more room than it had.
   */
  async settle(): Promise<void> {
    if (!this.#manifest.isCertain) await this.#write(this.#version.runs);
  }

  /** The runs are not installed; their files stay until the manifest surely does not name them. */
  async #giveUp(runs: readonly Run[]): Promise<void> {
    const tables = new Set(runs.flatMap(({ slices }) => slices.map(({ table }) => table)));
    for (const table of tables) if (table.references === 0) await this.#options.tables.close(table);
    this.leftOver();
  }

  #newVersion(runs: readonly Run[]): Version {
    const version = new Version(runs, (table) => {
      this.#named.delete(table.summary.number);
      this.#diskBytes -= table.summary.bytes;
      this.#remove(table);
    });
    version.retain();
    for (const { slices } of runs) for (const { table } of slices) this.#name(table.summary);
    return version;
  }

  #name({ number, bytes }: TableSummary): void {
    if (this.#named.has(number)) return;
    this.#named.add(number);
    this.#diskBytes += bytes;
  }

  #remove(table: Table): void {
    const { tables, logger } = this.#options;
    const removal = tables
      .remove(table)
      .catch((error: unknown) => {
        rethrowInvariant(error);
        logger.warn('a table could not be removed', { path: table.path, error: messageOf(error) });
        this.leftOver();
      })
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }

  /** Nothing may be read or installed any more. */
  async close(): Promise<void> {
    await Promise.all(this.#removals);
    const open = new Set(this.#version.runs.flatMap((run) => run.slices.map((slice) => slice.table)));
    for (const table of open) await this.#options.tables.close(table);
    await this.#manifest.close();
  }
}

const ignore = (): void => undefined;

async function largestNumber(disk: Disk, directory: string): Promise<number> {
  const numbers = (await disk.list(directory)).map((name) => numberOfTableName(name) ?? 0);
  return numbers.reduce((largest, number) => Math.max(largest, number), 0);
}
