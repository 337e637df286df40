import type { VersionedKeys } from '@cairn/engine';

import type { EngineDirectory, TableSummary } from './table-summary.js';

/*
 * Work that is done beside the event loop: on a thread of its own in a process, in line in tests and in the
 * simulator. Everything here is plain data.
 */

/** What every job needs to know. */
export interface JobSetting extends EngineDirectory {
  readonly versioned: VersionedKeys | undefined;
  readonly blockBytes: number;
}

/** Writes the rows of a memtable to a new table. */
export interface FlushJob extends JobSetting {
  readonly type: 'flush';
  readonly outputNumber: number;
  /** Packed rows in the order in which they were written. */
  readonly rows: ArrayBuffer | SharedArrayBuffer;
  readonly rowAt: Uint32Array;
}

/** A part of a table, to be read. */
export interface SliceOfJob {
  readonly table: TableSummary;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/**
 * Merges rows of several runs into one new table, from their smallest key on, until the table is large enough
 * or nothing is left. Deletions go where no older row can be hidden by them.
 */
export interface MergeJob extends JobSetting {
  readonly type: 'merge';
  readonly outputNumber: number;
  /** The slices of each run in key order; newest run first. */
  readonly inputs: readonly (readonly SliceOfJob[])[];
  /** Where there may be older rows than those of the inputs. */
  readonly older: readonly { readonly from: Uint8Array; readonly to: Uint8Array }[];
  /** Of the rows as they are without compression. */
  readonly tableBytes: number;
  /** Whether the table's blocks are compressed. */
  readonly isCompressed: boolean;
}

export interface FlushResult {
  readonly type: 'flush';
  readonly table: TableSummary;
}

export interface MergeResult {
  readonly type: 'merge';
  /** undefined when no row was left. */
  readonly table: TableSummary | undefined;
  /** All rows with keys below it are in the table or gone; undefined = all rows there were. */
  readonly doneBelow: Uint8Array | undefined;
  readonly readRows: number;
  /** Bytes of the blocks written, as they are without compression. */
  readonly plainBytes: number;
}

export type Job = FlushJob | MergeJob;
export type JobResult = FlushResult | MergeResult;

/** Where jobs run, one after the other. */
export interface JobRunner {
  /** Whether memory that jobs are given must be of the kind that threads can share. */
  readonly needsSharedMemory: boolean;
  /** Rejects with CairnError: DISK_FULL, CORRUPTION, INTERNAL. What the job wrote until then is of no use. */
  run(job: FlushJob): Promise<FlushResult>;
  run(job: MergeJob): Promise<MergeResult>;
  /** Ends what is running. */
  close(): Promise<void>;
}
