const QUOTE = 0x22;
const NEWLINE = 0x0a;

export interface CsvRecordsOptions {
  /** First byte of the delimiter. */
  readonly delimiter: number;
  readonly recordBytesMax: number;
  /** Told of each record that is left out, with its last line (1-based). */
  onTooLong(line: number): void;
}

/**
 * Hands on the bytes of a CSV source in whole records and leaves out those that are too long, so that the
 * parser behind it never holds more than `recordBytesMax`. A record that is left out leaves its line ends
 * behind, so that the lines after it keep their numbers.
 */
export async function* wholeCsvRecords(
  chunks: AsyncIterable<Buffer>,
  options: CsvRecordsOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const cutter = new RecordCutter(options);
  for await (const chunk of chunks) {
    const records = cutter.push(chunk);
    if (records.length > 0) yield records;
  }
  const last = cutter.end();
  if (last.length > 0) yield last;
}

class RecordCutter {
  readonly #options: CsvRecordsOptions;
  /** The beginning of a record whose end has not come; empty once it is too long. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #isTooLong = false;
  #linesOfRecord = 0;
  #line = 0;
  /**
   * A quote opens a cell only where a cell begins, as the parser has it; doubled ones inside stand for one.
   */
  #isQuoted = false;
  #isCellStart = true;
  #hasJustClosed = false;

  constructor(options: CsvRecordsOptions) {
    this.#options = options;
  }

  /** The records that end in this chunk. */
  push(chunk: Buffer): Buffer {
    const out: Buffer[] = [];
    let from = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      if (!this.#endsRecord(chunk[at] as number)) continue;
      this.#hold(chunk.subarray(from, at + 1));
      this.#finish(out);
      from = at + 1;
    }
    this.#hold(chunk.subarray(from));
    return Buffer.concat(out);
  }

  /** A last record without a line end. */
  end(): Buffer {
    const out: Buffer[] = [];
    if (this.#isTooLong) this.#line += 1;
    this.#finish(out);
    return Buffer.concat(out);
  }

  #endsRecord(byte: number): boolean {
    if (byte === NEWLINE) {
      this.#line += 1;
      this.#linesOfRecord += 1;
      if (!this.#isQuoted) return true;
    }
    if (this.#isQuoted) {
      this.#isQuoted = byte !== QUOTE;
      this.#hasJustClosed = byte === QUOTE;
      return false;
    }
    this.#isQuoted = byte === QUOTE && (this.#isCellStart || this.#hasJustClosed);
    this.#hasJustClosed = false;
    this.#isCellStart = byte === this.#options.delimiter;
    return false;
  }

  #hold(part: Buffer): void {
    this.#heldBytes += part.length;
    if (this.#heldBytes > this.#options.recordBytesMax) {
      this.#isTooLong = true;
      this.#held = [];
    } else this.#held.push(part);
  }

  #finish(out: Buffer[]): void {
    if (this.#isTooLong) {
      out.push(Buffer.alloc(this.#linesOfRecord, NEWLINE));
      this.#options.onTooLong(this.#line);
    } else out.push(...this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    this.#isTooLong = false;
    this.#linesOfRecord = 0;
    this.#isQuoted = false;
    this.#isCellStart = true;
    this.#hasJustClosed = false;
  }
}
