import { KeyView } from './key-view.js';
import type { RowView } from './row-cursor.js';
import { isDeleted, valueBytesOf } from './row.js';

const NOTHING = new Uint8Array(0);

/** A packed row with its whole key, as it lies in a memtable. */
export class PackedRow implements RowView {
  readonly key = new KeyView();
  bytes: Uint8Array = NOTHING;
  valueAt = 0;
  valueBytes = 0;
  isDeleted = false;

  /** Looks at the row at `at`. */
  lookAt(bytes: Uint8Array, at: number): void {
    const { key } = this;
    key.setToRow(bytes, at);
    this.bytes = bytes;
    this.valueAt = key.at + key.length;
    this.valueBytes = valueBytesOf(bytes, at);
    this.isDeleted = isDeleted(bytes, at);
  }
}
