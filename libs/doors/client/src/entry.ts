import { RowKind, rowKindName } from '@cairn/base';

/**
 * A value as it was read. The buffers belong to the caller, but may be views of a larger network message: a
 * caller that keeps a small value for long copies it (`Buffer.from(entry.value)`) to let the message go.
 */
export class Entry {
  /** Empty unless `kind` is bytes. */
  readonly value: Buffer;
  /** Opaque, unique per write of the key; pass it to `compareAndSet` as `expectedVersion`. */
  readonly version: Buffer;
  /** When the key disappears by itself, as `Date.now()` counts; undefined = never. */
  readonly expiresAtMs: number | undefined;
  /** `bytes`, or the collection that another door made: `hash`, `set`, `list`, `sorted set`, `stream`. */
  readonly kind: string;

  constructor(value: Buffer, version: Buffer, expiresUnixMs: number, kind: RowKind = RowKind.bytes) {
    this.value = value;
    this.version = version;
    this.expiresAtMs = expiresUnixMs === 0 ? undefined : expiresUnixMs;
    this.kind = rowKindName(kind);
  }

  /** The value as UTF-8 text; bytes that are no UTF-8 become U+FFFD. */
  text(): string {
    return this.value.toString('utf8');
  }

  /** The value parsed as JSON; throws SyntaxError when it is none. */
  json(): unknown {
    return JSON.parse(this.text()) as unknown;
  }
}

/** What a compareAndSet found: everything but when the key disappears, which its answer does not tell. */
export type StoredValue = Omit<Entry, 'expiresAtMs'>;

/** What a page of a scan says of a key. */
export interface FoundRow {
  readonly value: Buffer;
  readonly version: Buffer;
  /** 0 = never. */
  readonly expiresUnixMs: number;
  readonly kind: RowKind;
}

/** A row of a scan: an entry with its key. The same ownership holds. */
export class Row extends Entry {
  readonly key: Buffer;

  constructor(key: Buffer, found: FoundRow) {
    super(found.value, found.version, found.expiresUnixMs, found.kind);
    this.key = key;
  }

  keyText(): string {
    return this.key.toString('utf8');
  }
}
