import { KeyView } from './key-view.js';
import type { MergeSpan } from './merge-steps.js';
import { bytesOf } from './reclaim.js';
import type { Tables } from './tables.js';
import { intersect, isWhole, type Run, type RunBounds, type Slice, type Version } from './version.js';

/**
 * From so many deletions per row that is written on, what a span holds is merged: as each deletion hides a
 * row at most, half of the rows are dead then, and a byte that comes back costs one that is written. A
 * smaller share would merge more often, a larger one leave more (RocksDB's CompactOnDeletionCollector goes by
 * the same sign).
 */
const DELETED_SHARE_MIN = 0.5;
/** Less than this share of a table is not worth a merge. */
const WORTH_SHARE = 0.25;
/** Spans that are looked at after each flush; of a store of many tables, others next time. */
const LOOKS_PER_FLUSH = 64;
const FIRST_KEY = new Uint8Array(0);

/** A span whose rows, of all runs that have any, are to become rows of the oldest of these. */
export interface DeletedSpan {
  readonly runs: readonly Run[];
  readonly span: MergeSpan;
}

/** About how many rows some span has. */
interface Counts {
  bytes: number;
  writtenRows: number;
  deletedRows: number;
}

/**
 * Finds spans in which so much was deleted that merging them gives space back. Merges by level come when
 * there are enough runs: where the same rows are written and deleted again and again, many times what is
 * alive would lie there until then. What it goes by are the numbers of rows in the manifest, so a restart
 * forgets nothing.
 *
 * The oldest run is what a merge costs, so its tables say where one span ends and the next one begins.
 */
export class DeletedRows {
  readonly #tableBytes: number;
  /** Where the next span begins. */
  #from: Uint8Array = FIRST_KEY;
  #looksLeft = LOOKS_PER_FLUSH;

  constructor(tableBytes: number) {
    this.#tableBytes = tableBytes;
  }

  /** There are more deletions than there were: it is worth looking again. */
  flushed(): void {
    this.#looksLeft = LOOKS_PER_FLUSH;
  }

  /** The next span that is worth it; undefined when there is none, or none was found for now. */
  async find(tables: Tables, version: Version): Promise<DeletedSpan | undefined> {
    const oldest = version.runs.at(-1);
    if (oldest === undefined) return undefined;
    const looksMax = Math.min(this.#looksLeft, oldest.slices.length);
    for (this.#looksLeft = looksMax; this.#looksLeft > 0; this.#looksLeft -= 1) {
      const { span, counts } = await this.#look(tables, version);
      if (this.#isWorthIt(counts)) {
        const runs = version.runs.filter((_, run) => slicesIn(version, run, span).length > 0);
        return { runs, span };
      }
      this.passed(span.to);
    }
    return undefined;
  }

  /** Everything below is done with; undefined = the whole round. */
  passed(to: Uint8Array | undefined): void {
    this.#from = to ?? FIRST_KEY;
  }

  /** The next span that has at least about a table's bytes. */
  async #look(tables: Tables, version: Version): Promise<{ span: MergeSpan; counts: Counts }> {
    const counts: Counts = { bytes: 0, writtenRows: 0, deletedRows: 0 };
    const { slices } = version.runs.at(-1) as Run;
    const { starts } = version.bounds.at(-1) as RunBounds;
    let begin = this.#from;
    // What comes before the first table belongs to it.
    let next = Math.max(1, starts.firstAbove(KeyView.of(begin)));
    for (;;) {
      const to = slices[next]?.from;
      await addCounts(tables, version, { from: begin, to }, counts);
      if (to === undefined || counts.bytes >= this.#tableBytes) {
        return { span: { from: this.#from, to }, counts };
      }
      begin = to;
      next += 1;
    }
  }

  #isWorthIt({ bytes, writtenRows, deletedRows }: Counts): boolean {
    if (deletedRows < writtenRows * DELETED_SHARE_MIN || deletedRows === 0) return false;
    // Rows of a deletion are small: the bytes are those of the others.
    const deadBytes = bytes * Math.min(1, deletedRows / Math.max(1, writtenRows));
    return deadBytes >= this.#tableBytes * WORTH_SHARE;
  }
}

/** Adds what all runs have of the span, each table's rows taken as spread evenly over it. */
async function addCounts(tables: Tables, version: Version, span: MergeSpan, counts: Counts): Promise<void> {
  for (let run = 0; run < version.runs.length; run += 1) {
    for (const slice of slicesIn(version, run, span)) {
      const { bytes, rows, deletedRows } = slice.table.summary;
      const named = isWhole(slice) ? bytes : await bytesOf(tables, slice);
      const share = named / bytes;
      counts.bytes += named;
      counts.writtenRows += (rows - deletedRows) * share;
      counts.deletedRows += deletedRows * share;
    }
  }
}

/** What the run has of the span. */
function slicesIn(version: Version, run: number, { from, to }: MergeSpan): Slice[] {
  const { slices } = version.runs[run] as Run;
  const { starts, ends } = version.bounds[run] as RunBounds;
  const last = slices.at(-1);
  if (last === undefined) return [];
  const below = to === undefined ? slices.length : starts.firstAtOrAbove(KeyView.of(to));
  return intersect(slices.slice(ends.firstAbove(KeyView.of(from)), below), from, to ?? last.to);
}
