import { CairnError } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import { DiskError, FRAME_BYTES_MAX, type Disk, type DiskFile } from '@cairn/ports';

/** Longest prefix that says how long a part is. */
const PREFIX_BYTES_MAX = 8;

/** Length-prefixed parts, one after the other: the header of a snapshot, then chunks of rows. */
export class SpoolWriter {
  readonly #file: DiskFile;
  #bytes = 0;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async part(bytes: Buffer): Promise<void> {
    const prefix = new ByteWriter(PREFIX_BYTES_MAX);
    prefix.varint(bytes.length);
    const length = prefix.take();
    await this.#file.write([length, bytes], this.#bytes);
    this.#bytes += length.length + bytes.length;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** The error for a spool that was whole when it was received: the disk lost what it held. */
function damaged(path: string, offset: number, what: string, cause?: unknown): CairnError {
  return new CairnError(
    'CORRUPTION',
    `received snapshot damaged: ${path} at offset ${offset}: ${what}. Keep a copy of the directory, then give the ` +
      'node an empty data directory and let its ranges be rebuilt from their other replicas.',
    { cause, details: { path, offset } },
  );
}

/**
 * Reads a spool back, part by part: never more of it is in memory than one part, which came as one frame.
 * Throws CORRUPTION naming file and offset for what is not as it was received.
 */
export class SpoolReader {
  readonly #path: string;
  readonly #file: DiskFile;
  readonly #size: number;
  #position = 0;
  #partAt = 0;

  private constructor(path: string, file: DiskFile, size: number) {
    this.#path = path;
    this.#file = file;
    this.#size = size;
  }

  static async open(disk: Disk, path: string): Promise<SpoolReader> {
    let file: DiskFile;
    try {
      file = await disk.open(path, { mode: 'read' });
    } catch (error) {
      if (error instanceof DiskError && error.code === 'NOT_FOUND') {
        throw damaged(path, 0, 'the file is gone', error);
      }
      throw error;
    }
    return new SpoolReader(path, file, await file.size());
  }

  /** The next part, decoded; undefined at the end. */
  async next<Value>(decode: (part: Buffer) => Value): Promise<Value | undefined> {
    if (this.#position >= this.#size) return undefined;
    this.#partAt = this.#position;
    const prefix = await this.#file.read(this.#position, PREFIX_BYTES_MAX);
    const { length, at } = this.#decoded(() => {
      const reader = new ByteReader(prefix);
      return { length: reader.varint(), at: reader.position };
    });
    const from = this.#position + at;
    if (length > FRAME_BYTES_MAX || from + length > this.#size) {
      throw damaged(
        this.#path,
        this.#partAt,
        `a part of ${length} bytes does not fit the file of ${this.#size}`,
      );
    }
    const part = await this.#file.read(from, length);
    this.#position = from + length;
    return this.#decoded(() => decode(part));
  }

  throwEmpty(): never {
    throw damaged(this.#path, 0, 'the file is empty');
  }

  #decoded<Value>(decode: () => Value): Value {
    try {
      return decode();
    } catch (error) {
      if (!CairnError.is(error) || error.code !== 'CORRUPTION') throw error;
      throw damaged(this.#path, this.#partAt, error.message, error);
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
