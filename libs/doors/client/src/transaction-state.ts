import { CairnError } from '@cairn/base';
import { keyAfter } from './bytes.js';
import type { ReadSpan, TransactionWrite } from './wire-binding.js';

/** Keys that a transaction reads and writes, and spans that it scans, together. */
export const TRANSACTION_KEYS_MAX = 100_000;
/** What a transaction may have on its way: its end is one message, and a router takes 16 MiB in one. */
export const TRANSACTION_BYTES_MAX = 15 * 1024 * 1024;

/** What each takes in the message beside its bytes. */
const READ_BYTES = 8;
const WRITE_BYTES = 32;
const SPAN_BYTES = 16;

/** A write that waits for the commit. */
export interface BufferedWrite {
  readonly key: Buffer;
  /** undefined = the key is deleted. */
  readonly value: Buffer | undefined;
  readonly ttlMs: number;
}

/** What a scan has seen of its span so far; changed by the scan as it goes on. */
export interface ScannedSpan {
  readonly start: Buffer;
  readonly end: Buffer;
  readonly reverse: boolean;
  /** It was seen to its end. */
  isWhole: boolean;
  /** The last row that was given out. */
  last: Buffer | undefined;
}

/** A key that was read. */
interface ReadKey {
  readonly key: Buffer;
  /** It is as it was if a write of the key finds no newer version: there was no row that may expire. */
  isChecked: boolean;
}

/** Keys are text here whose characters are the bytes: such text compares as the bytes do. */
const nameOf = (key: Buffer): string => key.toString('latin1');

/**
 * What one attempt of a transaction has read and written. Bounded: the read or write that would go beyond a
 * limit throws TRANSACTION_TOO_LARGE, and is not in it.
 */
export class TransactionState {
  /** What was read is checked at the end. */
  readonly #keepsReads: boolean;
  readonly #reads = new Map<string, ReadKey>();
  /** Keys that were reserved: checked at the end whatever else is. */
  readonly #reserved = new Map<string, ReadKey>();
  readonly #writes = new Map<string, BufferedWrite>();
  readonly #spans: ScannedSpan[] = [];
  #bytes = 0;

  constructor(keepsReads: boolean) {
    this.#keepsReads = keepsReads;
  }

  get hasWrites(): boolean {
    return this.#writes.size > 0;
  }

  written(key: Buffer): BufferedWrite | undefined {
    return this.#writes.size === 0 ? undefined : this.#writes.get(nameOf(key));
  }

  read(key: Buffer): void {
    if (!this.#keepsReads) return;
    const name = nameOf(key);
    if (this.#reads.has(name)) return;
    this.#take(key.length + READ_BYTES);
    this.#reads.set(name, { key, isChecked: false });
  }

  reserve(key: Buffer): void {
    const name = nameOf(key);
    if (this.#reserved.has(name)) return;
    this.#take(key.length + READ_BYTES);
    this.#reserved.set(name, { key, isChecked: false });
  }

  /** A read has found nothing that may expire by itself. */
  readLasting(key: Buffer): void {
    const name = nameOf(key);
    for (const read of [this.#reads.get(name), this.#reserved.get(name)])
      if (read !== undefined) read.isChecked = true;
  }

  write(write: BufferedWrite): void {
    const name = nameOf(write.key);
    const earlier = this.#writes.get(name);
    this.#take(bytesOf(write), earlier);
    this.#writes.set(name, write);
  }

  scanned(start: Buffer, end: Buffer, reverse: boolean): ScannedSpan {
    const span: ScannedSpan = { start, end, reverse, isWhole: false, last: undefined };
    if (!this.#keepsReads) return span;
    this.#take(start.length + end.length + SPAN_BYTES);
    this.#spans.push(span);
    return span;
  }

  /** The writes to keys of a span as they are now, in the order of a scan. */
  writesIn(start: Buffer, end: Buffer, reverse: boolean): BufferedWrite[] {
    const low = nameOf(start);
    const high = nameOf(end);
    const found: BufferedWrite[] = [];
    for (const [name, write] of this.#writes)
      if (name >= low && (high === '' || name < high)) found.push(write);
    const sign = reverse ? -1 : 1;
    return found.sort((one, other) => sign * Buffer.compare(one.key, other.key));
  }

  /** For the end of the transaction: those that its writes do not check. */
  get reads(): Buffer[] {
    return this.#unchecked(this.#reads);
  }

  /** As `reads`. */
  get reserved(): Buffer[] {
    return this.#unchecked(this.#reserved);
  }

  #unchecked(read: ReadonlyMap<string, ReadKey>): Buffer[] {
    const keys: Buffer[] = [];
    for (const [name, { isChecked, key }] of read) if (!isChecked || !this.#writes.has(name)) keys.push(key);
    return keys;
  }

  get spans(): ReadSpan[] {
    return this.#spans.flatMap((span) => seenOf(span) ?? []);
  }

  get writes(): TransactionWrite[] {
    return [...this.#writes.values()].map(({ key, value, ttlMs }) => ({
      write:
        value === undefined
          ? { $case: 'delete', value: { key } }
          : { $case: 'put', value: { key, value, ttlMs } },
    }));
  }

  /** As it counts against the limit. */
  get bytes(): number {
    return this.#bytes;
  }

  #take(bytes: number, instead?: BufferedWrite): void {
    const read = this.#reads.size + this.#reserved.size + this.#spans.length;
    const keys = read + this.#writes.size + (instead === undefined ? 1 : 0);
    if (keys > TRANSACTION_KEYS_MAX) throw tooLarge(`${keys} keys and spans`, TRANSACTION_KEYS_MAX);
    const all = this.#bytes + bytes - (instead === undefined ? 0 : bytesOf(instead));
    if (all > TRANSACTION_BYTES_MAX) throw tooLarge(`${all} bytes`, TRANSACTION_BYTES_MAX);
    this.#bytes = all;
  }
}

/** The size of a write as it counts against the limit. */
export function bytesOf({ key, value }: BufferedWrite): number {
  return key.length + (value?.length ?? 0) + WRITE_BYTES;
}

/** TRANSACTION_TOO_LARGE that names size and limit. */
export function tooLarge(size: string, limit: number): CairnError {
  return new CairnError(
    'TRANSACTION_TOO_LARGE',
    `the transaction would have ${size}; the limit is ${limit}: do the work in several transactions`,
  );
}

/** The part of a span that the closure knows something of; undefined when it was told nothing. */
function seenOf({ start, end, reverse, isWhole, last }: ScannedSpan): ReadSpan | undefined {
  if (isWhole) return { start, end };
  if (last === undefined) return undefined;
  return reverse ? { start: last, end } : { start, end: keyAfter(last) };
}
