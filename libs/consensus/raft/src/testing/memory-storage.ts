import { assert, type LogIndex, type Term } from '@cairn/base';

import type { Entry, HardState, RaftStorage, Ready, SnapshotMeta } from '../types.js';

interface Image {
  previousIndex: number;
  previousTerm: number;
  entries: Entry[];
  hardState: HardState | undefined;
}

interface Staged {
  readonly sequence: number;
  readonly change: (image: Image) => void;
}

/**
 * A log in memory that knows the difference between written and durable: changes are visible at once, `sync`
 * makes them durable in order, `crash` goes back to what was durable. For tests.
 */
export class MemoryRaftStorage implements RaftStorage {
  #visible: Image = { previousIndex: 0, previousTerm: 0, entries: [], hardState: undefined };
  #durable: Image = { previousIndex: 0, previousTerm: 0, entries: [], hardState: undefined };
  #staged: Staged[] = [];
  /** Entries below this index answer `loading`. */
  loadingBelow = 0;

  get hardState(): HardState | undefined {
    return this.#visible.hardState;
  }

  /** What a crash would leave. */
  get durable(): { readonly hardState: HardState | undefined; readonly entries: readonly Entry[] } {
    return this.#durable;
  }

  firstIndex(): LogIndex {
    return (this.#visible.previousIndex + 1) as LogIndex;
  }

  lastIndex(): LogIndex {
    return (this.#visible.previousIndex + this.#visible.entries.length) as LogIndex;
  }

  termOf(index: LogIndex): Term | 'compacted' {
    const { previousIndex, previousTerm, entries } = this.#visible;
    if (index < previousIndex) return 'compacted';
    if (index === previousIndex) return previousTerm as Term;
    const entry = entries[index - previousIndex - 1];
    assert(entry !== undefined, 'term beyond the log', { index });
    return entry.term;
  }

  entries(
    from: LogIndex,
    toExclusive: LogIndex,
    bytesMax: number,
  ): readonly Entry[] | 'compacted' | 'loading' {
    const { previousIndex, entries } = this.#visible;
    if (from <= previousIndex) return 'compacted';
    if (from < this.loadingBelow) return 'loading';
    const start = from - previousIndex - 1;
    let end = start + 1;
    let bytes = entries[start]?.payload.length ?? 0;
    while (end < toExclusive - previousIndex - 1) {
      bytes += entries[end]?.payload.length ?? 0;
      if (bytes > bytesMax) break;
      end += 1;
    }
    return entries.slice(start, end);
  }

  /** Stages what a Ready wants written. */
  stage(ready: Pick<Ready, 'sequence' | 'entries' | 'hardState'>): void {
    const { entries, hardState } = ready;
    if (entries.length === 0 && hardState === undefined) return;
    this.#apply(ready.sequence, (image) => {
      const first = entries[0];
      if (first !== undefined) {
        const keep = first.index - image.previousIndex - 1;
        assert(keep >= 0 && keep <= image.entries.length, 'a gap in the log', { first: first.index });
        image.entries.length = keep;
        image.entries.push(...entries);
      }
      if (hardState !== undefined) image.hardState = hardState;
    });
  }

  /** Everything staged for Readies up to `sequence` survives a crash from now on. */
  sync(sequence: number): void {
    let staged = this.#staged[0];
    while (staged !== undefined && staged.sequence <= sequence) {
      staged.change(this.#durable);
      this.#staged.shift();
      staged = this.#staged[0];
    }
  }

  /** Loses what was not durable. */
  crash(): void {
    this.#staged = [];
    this.#visible = { ...this.#durable, entries: [...this.#durable.entries] };
  }

  /** Durable at once: forgets entries up to `index`. */
  compact(index: LogIndex): void {
    this.#apply(0, (image) => {
      const at = index - image.previousIndex - 1;
      const entry = image.entries[at];
      if (entry === undefined) return;
      image.entries.splice(0, at + 1);
      image.previousIndex = index;
      image.previousTerm = entry.term;
    });
    this.#staged.pop()?.change(this.#durable);
  }

  /** Durable at once: an empty log behind the snapshot. */
  reset(meta: Pick<SnapshotMeta, 'index' | 'term'>): void {
    for (const staged of this.#staged) staged.change(this.#durable);
    this.#staged = [];
    for (const image of [this.#visible, this.#durable]) {
      image.previousIndex = meta.index;
      image.previousTerm = meta.term;
      image.entries = [];
    }
  }

  #apply(sequence: number, change: (image: Image) => void): void {
    change(this.#visible);
    this.#staged.push({ sequence, change });
  }
}
