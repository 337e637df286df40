import { messageOf } from '@cairn/base';
import type { Disk, Logger } from '@cairn/ports';

import { Manifest, type ManifestState } from './manifest.js';
import { checkLevels } from './merge-policy.js';
import { numberOfTableName, type TableSummary } from './table-summary.js';
import type { Table } from './table.js';
import type { Tables } from './tables.js';
import { Version, type Run } from './version.js';

export interface TableSetOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly tables: Tables;
  readonly logger: Logger;
}

/**
 * The tables that make up the engine's durable state: the newest version, and its copy on disk. Changes come
 * one at a time.
 */
export class TableSet {
  readonly #options: TableSetOptions;
  readonly #manifest: Manifest;
  #version: Version;
  #nextNumber: number;
  /** Files that are being removed. */
  readonly #removals = new Set<Promise<void>>();

  private constructor(options: TableSetOptions, manifest: Manifest, state: ManifestState, runs: Run[]) {
    this.#options = options;
    this.#manifest = manifest;
    this.#nextNumber = state.nextNumber;
    this.#version = this.#newVersion(runs);
  }

  /**
   * Opens what the manifest names and removes what it does not: leavings of jobs that a crash cut short.
   * Throws CORRUPTION when a table is missing or damaged.
   */
  static async open(options: TableSetOptions): Promise<TableSet> {
    const { disk, directory, tables, logger } = options;
    const { manifest, state } = await Manifest.open(disk, directory, logger);
    const opened = new Map<number, Table>();
    try {
      await removeLeftovers(disk, directory, state);
      const runs: Run[] = [];
      for (const { id, level, slices } of state?.runs ?? []) {
        const own = [];
        for (const { table: summary, from, to } of slices) {
          const table = opened.get(summary.number) ?? (await tables.open(summary));
          opened.set(summary.number, table);
          own.push({ table, from, to });
        }
        runs.push({ id, level, slices: own });
      }
      return new TableSet(options, manifest, state ?? { nextNumber: 1, runs: [] }, runs);
    } catch (error) {
      for (const table of opened.values()) await tables.close(table);
      await manifest.close();
      throw error;
    }
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
    return this.#options.tables.open(summary);
  }

  /**
   * Makes a changed list of runs durable. Whoever asks for the version from then on gets it; `onVisible` runs
   * in the same moment.
   */
  async install(runs: readonly Run[], onVisible: () => void = ignore): Promise<void> {
    checkLevels(runs);
    await this.#manifest.write({
      nextNumber: this.#nextNumber,
      runs: runs.map(({ id, level, slices }) => ({
        id,
        level,
        slices: slices.map(({ table, from, to }) => ({ table: table.summary, from, to })),
      })),
    });
    const before = this.#version;
    this.#version = this.#newVersion(runs);
    onVisible();
    before.release();
  }

  #newVersion(runs: readonly Run[]): Version {
    const version = new Version(runs, (table) => {
      this.#remove(table);
    });
    version.retain();
    return version;
  }

  #remove(table: Table): void {
    const { tables, logger } = this.#options;
    const removal = tables
      .remove(table)
      .catch((error: unknown) => {
        // The next start removes it: no manifest names it.
        logger.warn('a table could not be removed', { path: table.path, error: messageOf(error) });
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

async function removeLeftovers(
  disk: Disk,
  directory: string,
  state: ManifestState | undefined,
): Promise<void> {
  const named = new Set(state?.runs.flatMap((run) => run.slices.map((slice) => slice.table.number)));
  for (const name of await disk.list(directory)) {
    const number = numberOfTableName(name);
    if (number !== undefined && !named.has(number)) await disk.remove(`${directory}/${name}`);
  }
}
