const QUOTE = 0x22;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

export interface CsvRecordsOptions {
  readonly delimiter: number;
  readonly recordBytesMax: number;
}

/** One record of a CSV source as it stands there, whole or broken. */
export interface CsvRecord {
  /** Without its line end; undefined when it is too long to be held. */
  readonly bytes: Buffer | undefined;
  /** The line that it begins in (1-based), and the one that it ends in. */
  readonly line: number;
  readonly lastLine: number;
  /** Offset behind its line end. */
  readonly end: number;
  /** Why it cannot be taken apart; empty when it can. */
  readonly problem: string;
}

/**
 * Where the next byte stands. `closed`: behind the quote that ends a cell, or the first of a doubled one;
 * `closedReturn`: behind that and a carriage return; `lost`: behind a cell that goes on after its closing
 * quote, where quotes say nothing until the line ends.
 */
type Place = 'cellStart' | 'plain' | 'quoted' | 'closed' | 'closedReturn' | 'lost';

/**
 * Cuts a CSV source into its records and never holds more than `recordBytesMax` of one. Lines end with a
 * newline, with or without a carriage return before it, or with a lone carriage return when the first line
 * does. A quote opens a cell only where a cell begins; doubled ones inside stand for one.
 *
 * A cell that goes on behind its closing quote ends its record with that line: what follows is read as if
 * nothing had happened. A quote that nobody closes has all the rest in its record, since any of it may be
 * text.
 */
export async function* csvRecords(
  chunks: AsyncIterable<Buffer>,
  options: CsvRecordsOptions,
): AsyncGenerator<readonly CsvRecord[], void, undefined> {
  const cutter = new RecordCutter(options);
  for await (const chunk of chunks) {
    const records = cutter.push(chunk);
    if (records.length > 0) yield records;
  }
  const last = cutter.end();
  if (last !== undefined) yield [last];
}

class RecordCutter {
  readonly #options: CsvRecordsOptions;
  /** What ends a line; undefined until the first one has ended. */
  #lineEnd: typeof NEWLINE | typeof RETURN | undefined;
  /** The first line ended with a carriage return; a newline right behind belongs to it. */
  #mayBeSecondHalf = false;
  /** Line breaks and bytes before the next byte. */
  #lines = 0;
  #offset = 0;
  #lastByte = 0;

  // Of the record whose end has not come:
  #held: Buffer[] = [];
  #bytes = 0;
  #firstLine = 1;
  #at: Place = 'cellStart';
  #cell = 1;
  #quoteLine = 0;
  #problem = '';
  /** What to say when it is too long; empty while it is not. */
  #tooLong = '';

  constructor(options: CsvRecordsOptions) {
    this.#options = options;
  }

  /** The records that end in this chunk. */
  push(chunk: Buffer): CsvRecord[] {
    const out: CsvRecord[] = [];
    let from = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      if (this.#mayBeSecondHalf) {
        this.#mayBeSecondHalf = false;
        this.#lineEnd = byte === NEWLINE ? NEWLINE : RETURN;
        if (byte === NEWLINE) {
          from = at + 1;
          continue;
        }
      }
      if (!this.#endsRecord(byte)) continue;
      this.#hold(chunk.subarray(from, at));
      out.push(this.#finish(this.#offset + at + 1, this.#lines));
      from = at + 1;
    }
    this.#hold(chunk.subarray(from));
    this.#offset += chunk.length;
    this.#lastByte = chunk[chunk.length - 1] ?? this.#lastByte;
    return out;
  }

  /** A last record without a line end. */
  end(): CsvRecord | undefined {
    if (this.#bytes === 0) return undefined;
    if (this.#at === 'quoted')
      this.#problem = `${this.#openQuote()} is not closed before the end of the file`;
    const lastLine = this.#lastByte === this.#lineEnd ? this.#lines : this.#lines + 1;
    return this.#finish(this.#offset, lastLine);
  }

  #endsRecord(byte: number): boolean {
    const isLineEnd = this.#isLineEnd(byte);
    if (isLineEnd) {
      this.#lines += 1;
      if (this.#at !== 'quoted') return true;
    }
    switch (this.#at) {
      case 'quoted':
        if (byte === QUOTE) this.#at = 'closed';
        break;
      case 'cellStart':
        this.#at = byte === QUOTE ? 'quoted' : 'plain';
        if (byte === QUOTE) this.#quoteLine = this.#lines + 1;
        else this.#plain(byte);
        break;
      case 'plain':
        this.#plain(byte);
        break;
      case 'closed':
        if (byte === QUOTE) this.#at = 'quoted';
        else if (byte === this.#options.delimiter) this.#nextCell();
        else if (byte === RETURN) this.#at = 'closedReturn';
        else this.#lose();
        break;
      case 'closedReturn':
        this.#lose();
        break;
      case 'lost':
        break;
    }
    return false;
  }

  /** Counts a line break wherever it stands; one inside quotes is part of the cell. */
  #isLineEnd(byte: number): boolean {
    if (byte === NEWLINE) return this.#lineEnd !== RETURN;
    if (byte !== RETURN) return false;
    if (this.#lineEnd === RETURN) return true;
    // The carriage return that ends the first line says with its next byte what ends all others.
    if (this.#lineEnd !== undefined || this.#at === 'quoted') return false;
    this.#mayBeSecondHalf = true;
    return true;
  }

  #plain(byte: number): void {
    if (byte === this.#options.delimiter) this.#nextCell();
    else if (byte === QUOTE && this.#problem === '') {
      const where = `cell ${this.#cell} has a quote and does not begin with one`;
      this.#problem = `${where}; write such a cell in quotes, with each quote in it doubled`;
    }
  }

  #nextCell(): void {
    this.#at = 'cellStart';
    this.#cell += 1;
  }

  #lose(): void {
    this.#at = 'lost';
    if (this.#problem !== '') return;
    const advice = 'a quote inside a quoted cell is doubled';
    this.#problem = `${this.#openQuote()} is closed before the cell ends; ${advice}`;
  }

  #openQuote(): string {
    return `the quote at the beginning of cell ${this.#cell}, line ${this.#quoteLine},`;
  }

  #hold(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes <= this.#options.recordBytesMax) this.#held.push(part);
    else if (this.#tooLong === '') {
      const isOpen = this.#at === 'quoted';
      const guess = isOpen ? `; perhaps ${this.#openQuote()} is not closed` : '';
      this.#tooLong = `longer than ${this.#options.recordBytesMax} bytes${guess}`;
      this.#held = [];
    }
  }

  #finish(end: number, lastLine: number): CsvRecord {
    const isTooLong = this.#tooLong !== '';
    const record: CsvRecord = {
      bytes: isTooLong ? undefined : this.#wholeRecord(),
      line: this.#firstLine,
      lastLine,
      end,
      problem: isTooLong ? this.#tooLong : this.#problem,
    };
    this.#lineEnd ??= this.#mayBeSecondHalf ? undefined : NEWLINE;
    this.#held = [];
    this.#bytes = 0;
    this.#firstLine = lastLine + 1;
    this.#at = 'cellStart';
    this.#cell = 1;
    this.#problem = '';
    this.#tooLong = '';
    return record;
  }

  #wholeRecord(): Buffer {
    const [first] = this.#held;
    const bytes = first !== undefined && this.#held.length === 1 ? first : Buffer.concat(this.#held);
    return bytes[bytes.length - 1] === RETURN ? bytes.subarray(0, -1) : bytes;
  }
}

/**
 * The cells of a record without a problem. Text in and out has one character for each byte, so that each cell
 * can be decoded by itself.
 */
export function cellsOf(record: string, delimiter: string): string[] {
  if (!record.includes('"')) return record.split(delimiter);
  const cells: string[] = [];
  let from = 0;
  for (;;) {
    let end = record.indexOf(delimiter, from);
    if (record[from] === '"') {
      let close = record.indexOf('"', from + 1);
      while (record[close + 1] === '"') close = record.indexOf('"', close + 2);
      cells.push(record.slice(from + 1, close).replaceAll('""', '"'));
      end = record.indexOf(delimiter, close + 1);
    } else cells.push(record.slice(from, end === -1 ? record.length : end));
    if (end === -1) return cells;
    from = end + 1;
  }
}
