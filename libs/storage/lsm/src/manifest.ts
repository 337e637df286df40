import { CairnError, formatTooNew } from '@cairn/base';
import { ByteReader, ByteWriter, crc32, isEndSealed, sealEnd } from '@cairn/codec';
import { readWholeFile, type Disk, type DiskFile, type Logger } from '@cairn/ports';

import { numberOfTableName, readSummary, writeSummary, type TableSummary } from './table-summary.js';

/*
 * The manifest says which tables there are and in which order they were written. It is written whole, to two
 * files one after the other:
 *   magic u32 | version u32 | sequence u64 | body bytes u32 | body crc u32 | header crc u32 | body
 * What stands behind the body is of an earlier, longer one. A crash tears at most one of the two files. When
 * one is unreadable, the other is as new, or one change older; that change was then never reported as
 * durable. A write that fails leaves one file of which nothing is known; that one is written first by the
 * next, and read back, before the other is touched.
 */

const MAGIC = 0x6c73_6d6d;
const VERSION = 1;
const HEADER_BYTES = 28;
const NAMES = ['manifest-a', 'manifest-b'] as const;

/** A part of a table: its rows with keys in [from, to). */
export interface SliceRecord {
  readonly table: TableSummary;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** Slices in key order that do not overlap. */
export interface RunRecord {
  readonly id: number;
  readonly level: number;
  readonly slices: readonly SliceRecord[];
}

export interface ManifestState {
  /** For the next table or run; numbers are never used twice. */
  readonly nextNumber: number;
  /** Newest first. */
  readonly runs: readonly RunRecord[];
}

const EMPTY: ManifestState = { nextNumber: 1, runs: [] };

interface Copy {
  readonly path: string;
  readonly sequence: number;
  readonly state: ManifestState;
}

/** Both files of the manifest. One call at a time. */
export class Manifest {
  readonly #disk: Disk;
  readonly #directory: string;
  /** The one that is written first comes first. */
  readonly #files: readonly DiskFile[];
  #sequence: number;
  /** What it holds is not known: a write of it failed, or is under way, or nobody has read it. */
  #doubtful: DiskFile | undefined;

  private constructor(disk: Disk, directory: string, files: readonly DiskFile[], sequence: number) {
    this.#disk = disk;
    this.#directory = directory;
    this.#files = files;
    this.#sequence = sequence;
    this.#doubtful = files[0];
  }

  /**
   * Whether both copies hold the state that was written last. If not, a start may find that state or the one
   * before, so what either names must stay.
   */
  get isCertain(): boolean {
    return this.#doubtful === undefined;
  }

  /**
   * Reads what is there and makes both files the same again. The state is undefined for a directory that
   * holds nothing. Throws CORRUPTION when neither file can be read and there are tables, FORMAT_TOO_NEW.
   */
  static async open(
    disk: Disk,
    directory: string,
    logger: Logger,
  ): Promise<{ manifest: Manifest; state: ManifestState | undefined }> {
    const copies = await readCopies(disk, directory, logger);
    const [newest] = copies.toSorted((one, other) => other.sequence - one.sequence);
    if (newest === undefined && !(await isWithoutTables(disk, directory))) throw unreadable(directory);
    // The good copy is overwritten last: a crash now must not take it while the other is unreadable.
    const paths = NAMES.map((name) => `${directory}/${name}`).sort(
      (one, other) => Number(one === newest?.path) - Number(other === newest?.path),
    );
    const files: DiskFile[] = [];
    try {
      for (const path of paths) files.push(await disk.open(path, { mode: 'write', durableWrites: true }));
      const manifest = new Manifest(disk, directory, files, newest?.sequence ?? 0);
      await manifest.write(newest?.state ?? EMPTY);
      return { manifest, state: newest?.state };
    } catch (error) {
      for (const file of files) await file.close();
      throw error;
    }
  }

  /**
   * Resolves when the state is durable, and the names of all files that were made before. A crash before
   * leaves this state or the one before; so does a failure, after which the next state may be written.
   */
  async write(state: ManifestState): Promise<void> {
    this.#sequence += 1;
    const bytes = encode(this.#sequence, state);
    // What the state names must be found by whoever finds the state.
    await this.#disk.syncDirectory(this.#directory);
    const doubtful = this.#doubtful;
    if (doubtful !== undefined) {
      await doubtful.write([bytes], 0);
      await checkWritten(doubtful, bytes);
    }
    for (const file of this.#files) {
      if (file === doubtful) continue;
      this.#doubtful = file;
      await file.write([bytes], 0);
    }
    this.#doubtful = undefined;
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }
}

/** The other copy is written over next: what is in this one must be there. */
async function checkWritten(file: DiskFile, bytes: Buffer): Promise<void> {
  if (bytes.equals(await file.read(0, bytes.length))) return;
  throw new CairnError('CORRUPTION', `engine: ${file.path} does not hold what was just written to it`, {
    details: { path: file.path },
  });
}

async function readCopies(disk: Disk, directory: string, logger: Logger): Promise<Copy[]> {
  const copies: Copy[] = [];
  for (const name of NAMES) {
    const path = `${directory}/${name}`;
    if (!(await disk.exists(path))) continue;
    const bytes = await readWholeFile(disk, path);
    const decoded = decode(bytes, path);
    if (decoded !== undefined) copies.push({ path, ...decoded });
    else if (bytes.length > 0) logger.warn('a copy of the manifest cannot be read', { path });
  }
  return copies;
}

/** The first manifest is durable before there is any table. */
async function isWithoutTables(disk: Disk, directory: string): Promise<boolean> {
  return (await disk.list(directory)).every((name) => numberOfTableName(name) === undefined);
}

function unreadable(directory: string): CairnError {
  return new CairnError(
    'CORRUPTION',
    `engine: neither copy of the manifest in ${directory} can be read. Keep a copy of the directory, then give ` +
      `the node an empty data directory and let its ranges be rebuilt from their other replicas.`,
    { details: { path: `${directory}/${NAMES[0]}` } },
  );
}

function encode(sequence: number, state: ManifestState): Buffer {
  const body = new ByteWriter(4096);
  body.varint(state.nextNumber);
  body.varint(state.runs.length);
  for (const run of state.runs) {
    body.varint(run.id);
    body.varint(run.level);
    body.varint(run.slices.length);
    for (const slice of run.slices) {
      writeSummary(body, slice.table);
      body.bytes(slice.from);
      body.bytes(slice.to);
    }
  }
  const bodyBytes = body.take();
  const header = new ByteWriter(HEADER_BYTES);
  header.u32(MAGIC);
  header.u32(VERSION);
  header.u64(sequence);
  header.u32(bodyBytes.length);
  header.u32(crc32(bodyBytes));
  header.u32(0);
  return Buffer.concat([sealEnd(header.take()), bodyBytes]);
}

/** undefined when the bytes are no whole manifest. */
function decode(bytes: Buffer, path: string): { sequence: number; state: ManifestState } | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const reader = new ByteReader(bytes);
  const magic = reader.u32();
  const version = reader.u32();
  if (magic !== MAGIC || !isEndSealed(bytes.subarray(0, HEADER_BYTES))) return undefined;
  if (version > VERSION) {
    throw formatTooNew(`engine: manifest ${path} of format ${version}`, { path });
  }
  const sequence = reader.u64();
  const bodyBytes = reader.u32();
  const bodyCrc = reader.u32();
  const body = bytes.subarray(HEADER_BYTES, HEADER_BYTES + bodyBytes);
  if (body.length !== bodyBytes || crc32(body) !== bodyCrc) return undefined;
  return { sequence, state: decodeBody(new ByteReader(body)) };
}

function decodeBody(reader: ByteReader): ManifestState {
  const nextNumber = reader.varint();
  const runs: RunRecord[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) {
    const id = reader.varint();
    const level = reader.varint();
    const slices: SliceRecord[] = [];
    for (let slicesLeft = reader.varint(); slicesLeft > 0; slicesLeft -= 1) {
      const table = readSummary(reader);
      slices.push({ table, from: new Uint8Array(reader.bytes()), to: new Uint8Array(reader.bytes()) });
    }
    runs.push({ id, level, slices });
  }
  reader.expectEnd();
  return { nextNumber, runs };
}
