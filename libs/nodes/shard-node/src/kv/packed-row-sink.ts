import { RowKind } from '@cairn/base';
import {
  copyUserKeyOf,
  copyVersionToken,
  expiryOfRecord,
  expiryToUnixMs,
  kindOfRecord,
  userKeyLengthOf,
  valueStartOf,
} from '@cairn/mvcc';
import type { RowSink } from '@cairn/mvcc';
import { RowPacker, type PackedRows } from '@cairn/wire';

/** First room for the rows of a page; grows. */
const CAPACITY_BYTES = 64 * 1024;

/** Packs visible rows straight from the engine's buffers into what clients get. Counts encoded bytes. */
export class PackedRowSink implements RowSink {
  readonly #keysOnly: boolean;
  readonly #packer: RowPacker;
  #firstExpiry = Infinity;

  constructor(options: { readonly keysOnly: boolean; readonly pageBytes: number }) {
    this.#keysOnly = options.keysOnly;
    this.#packer = new RowPacker(Math.min(options.pageBytes, CAPACITY_BYTES) + 1024);
  }

  get count(): number {
    return this.#packer.count;
  }

  /** The timestamp at which the first of the rows expires; Infinity when none does. */
  get firstExpiry(): number {
    return this.#firstExpiry;
  }

  add(engineKey: Buffer, record: Buffer): number {
    const packer = this.#packer;
    const before = packer.length;
    const keyLength = userKeyLengthOf(engineKey);
    const valueStart = valueStartOf(record);
    const kind = kindOfRecord(record);
    const valueLength = this.#keysOnly || kind !== RowKind.bytes ? 0 : record.length - valueStart;
    const expiry = expiryOfRecord(record);
    packer.reserve(keyLength, valueLength, expiryToUnixMs(expiry), kind);
    const { buffer } = packer;
    copyUserKeyOf(engineKey, { target: buffer, at: packer.keyAt, length: keyLength });
    if (valueLength > 0) record.copy(buffer, packer.valueAt, valueStart);
    copyVersionToken(engineKey, record, buffer, packer.versionAt);
    if (expiry !== 0 && expiry < this.#firstExpiry) this.#firstExpiry = expiry;
    return packer.length - before;
  }

  /** The rows; the sink must not be used afterwards. */
  take(): PackedRows {
    return this.#packer.take();
  }
}
