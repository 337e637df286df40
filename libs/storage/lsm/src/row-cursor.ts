import type { KeyView } from './key-view.js';

/**
 * Where a cursor is: on a row; before one that has to be read first (call `load`); or behind the last.
 */
export type CursorState = 'on-row' | 'waits' | 'at-end';

/**
 * A row where it lies. Key and value may lie apart, because the keys of a block share their prefix. The bytes
 * belong to somebody else and may change when that somebody reads on.
 */
export interface RowView {
  readonly key: KeyView;
  /** The value lies in `bytes` from `valueAt` on. */
  readonly bytes: Uint8Array;
  readonly valueAt: number;
  /** 0 for a deleted row. */
  readonly valueBytes: number;
  /** The row says that its key was deleted. */
  readonly isDeleted: boolean;
}

/**
 * Walks over the rows of one source in one direction, each key once. What it stands on is there until it is
 * moved.
 */
export interface RowCursor extends RowView {
  readonly state: CursorState;
  /**
   * Goes to the first row whose key is at or beyond the target in the cursor's direction. The target's bytes
   * must stay until the cursor is on a row or at its end.
   */
  seek(target: KeyView): void;
  /** From a row to the next one; answers the new state. */
  next(): CursorState;
  /** Reads what it waits for; undefined = done already. Afterwards it is on a row or at its end. */
  load(): Promise<void> | undefined;
}
