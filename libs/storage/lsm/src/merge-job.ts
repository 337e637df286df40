import type { Disk } from '@cairn/ports';

import type { MergeJob, MergeResult, SliceOfJob } from './jobs.js';
import { KeyShape } from './key-shape.js';
import { compareKeys, KeyView } from './key-view.js';
import { MergedRows } from './merged-rows.js';
import type { RowCursor } from './row-cursor.js';
import { RunCursor, type TableReads } from './run-cursor.js';
import type { TableMeta } from './table-format.js';
import type { EngineDirectory, TableSummary } from './table-summary.js';
import { openTable, readMeta, type Table } from './table.js';
import type { Slice } from './version.js';
import { writeTable } from './write-table.js';

/** What is read at a time of each run. */
const CHUNK_BYTES = 256 * 1024;
const NO_KEY = new Uint8Array(0);

/** Merges a part of some runs into one table. Durable when it resolves. */
export async function merge(disk: Disk, job: MergeJob): Promise<MergeResult> {
  const tables = new JobTables(disk, job);
  try {
    const cursors: RowCursor[] = [];
    for (const input of job.inputs) cursors.push(await tables.cursor(input));
    return await mergeRows(disk, job, new MergedRows(cursors, false));
  } finally {
    await tables.close();
  }
}

async function mergeRows(disk: Disk, job: MergeJob, rows: MergedRows): Promise<MergeResult> {
  const older = new OlderRows(job.older);
  let readRows = 0;
  let doneBelow: Uint8Array | undefined;
  let plainBytes = 0;
  rows.seek(KeyView.of(NO_KEY));
  const options = { ...job, shape: new KeyShape(job.versioned), bytesExpected: job.tableBytes };
  const table = await writeTable(disk, options, async (writer) => {
    for (;;) {
      const settling = rows.settle();
      if (settling !== undefined) await settling;
      const cursor = rows.current;
      plainBytes = writer.plainBytes;
      if (cursor === undefined) return;
      if (plainBytes >= job.tableBytes) {
        doneBelow = cursor.key.copy();
        return;
      }
      readRows += 1;
      if (!cursor.isDeleted || older.mayHave(cursor.key)) {
        if (writer.add(cursor)) await writer.drain();
      }
      rows.next();
    }
  });
  return { type: 'merge', table, doneBelow, readRows, plainBytes };
}

/** Where older rows may be; asked for keys in order. */
class OlderRows {
  readonly #spans: MergeJob['older'];
  #at = 0;
  readonly #bound = new KeyView();

  constructor(spans: MergeJob['older']) {
    this.#spans = spans.toSorted((one, other) => Buffer.compare(one.to, other.to));
  }

  mayHave(key: KeyView): boolean {
    // Spans that end at or before the key are done with; of the others any may begin before it.
    for (; this.#at < this.#spans.length; this.#at += 1) {
      const { to } = this.#spans[this.#at] as MergeJob['older'][number];
      this.#bound.set(to, 0, to.length);
      if (compareKeys(key, this.#bound) < 0) break;
    }
    for (let at = this.#at; at < this.#spans.length; at += 1) {
      const { from } = this.#spans[at] as MergeJob['older'][number];
      this.#bound.set(from, 0, from.length);
      if (compareKeys(key, this.#bound) >= 0) return true;
    }
    return false;
  }
}

/** The tables of one job, each open once. All reads are waited for: this is not the event loop. */
class JobTables implements TableReads {
  readonly #disk: Disk;
  readonly #place: EngineDirectory;
  readonly #tables = new Map<number, Table>();

  constructor(disk: Disk, place: EngineDirectory) {
    this.#disk = disk;
    this.#place = place;
  }

  async cursor(input: readonly SliceOfJob[]): Promise<RunCursor> {
    const slices: Slice[] = [];
    for (const { table, from, to } of input) slices.push({ table: await this.#open(table), from, to });
    return new RunCursor({
      reads: this,
      slices,
      isReverse: false,
      chunkBytesMax: CHUNK_BYTES,
      isLongWalk: true,
    });
  }

  async #open(summary: TableSummary): Promise<Table> {
    const known = this.#tables.get(summary.number);
    if (known !== undefined) return known;
    const table = await openTable(this.#disk, this.#place, summary);
    this.#tables.set(summary.number, table);
    return table;
  }

  metaNow(table: Table): TableMeta | undefined {
    return table.meta;
  }

  async loadMeta(table: Table): Promise<TableMeta> {
    table.meta ??= await readMeta(table);
    return table.meta;
  }

  readNow(): boolean {
    return false;
  }

  read(table: Table, position: number, length: number): Promise<Uint8Array> {
    return table.file.read(position, length);
  }

  async close(): Promise<void> {
    for (const { file } of this.#tables.values()) await file.close();
  }
}
