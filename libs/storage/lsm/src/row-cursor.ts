import type { KeyView } from './key-view.js';

/**
 * Where a cursor is: on a row; before one that has to be read first (call `load`); or behind the last.
 */
export type CursorState = 'on-row' | 'waits' | 'at-end';

/**
 * Walks over the rows of one source in one direction, each key once. What it stands on is there until it is
 * moved.
 */
export interface RowCursor {
  readonly state: CursorState;
  /** The key of the row it stands on; moves along. */
  readonly key: KeyView;
  /** The packed row it stands on lies in `bytes` from `rowAt` on. */
  readonly bytes: Uint8Array;
  readonly rowAt: number;
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
