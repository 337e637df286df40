import { CairnError } from '@cairn/base';
import { readWholeFile, type Disk, type DiskFile, type Logger, type Rng } from '@cairn/ports';

import { damaged } from './engine-error.js';
import {
  decodeManifest,
  encodeManifest,
  type ManifestContent,
  type ManifestState,
} from './manifest-format.js';
import { numberOfTableName } from './table-summary.js';

/*
 * The manifest says which tables there are and in which order they were written. It is written whole, to two
 * files one after the other (`manifest-format.ts`). A crash tears at most one of the two files. When one is
 * unreadable, the other is as new, or one change older; that change was then never reported as durable. A
 * write that fails leaves one file of which nothing is known; that one is written first by the next, and read
 * back, before the other is touched.
 */

const NAMES = ['manifest-a', 'manifest-b'] as const;
const EMPTY: ManifestState = { nextNumber: 1, runs: [] };
const DIRECTORY_ID_BYTES = 6;

/** Where a manifest is, and what it needs. */
export interface ManifestOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly logger: Logger;
  /** Makes the directory's id when there is none. */
  readonly rng: Rng;
}

interface Copy extends ManifestContent {
  readonly path: string;
}

/** Both files of the manifest. One call at a time. */
export class Manifest {
  /** What tables of this directory say that they belong to. */
  readonly directoryId: number;
  readonly #disk: Disk;
  readonly #directory: string;
  /** The one that is written first comes first. */
  readonly #files: readonly DiskFile[];
  #sequence: number;
  /** What it holds is not known: a write of it failed, or is under way, or nobody has read it. */
  #doubtful: DiskFile | undefined;

  private constructor(options: ManifestOptions, files: readonly DiskFile[], newest: Copy | undefined) {
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.directoryId = newest?.directoryId ?? newId(options.rng);
    this.#files = files;
    this.#sequence = newest?.sequence ?? 0;
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
   * holds nothing. Throws CORRUPTION when neither file can be read and there are tables, or when a file says
   * what cannot be, FORMAT_TOO_NEW.
   */
  static async open(
    options: ManifestOptions,
  ): Promise<{ manifest: Manifest; state: ManifestState | undefined }> {
    const { disk, directory } = options;
    const copies = await readCopies(options);
    const [newest, older] = copies.toSorted((one, other) => other.sequence - one.sequence);
    if (older !== undefined && older.directoryId !== newest?.directoryId) {
      throw damaged(`the copies of the manifest in ${directory} are of two directories`, older.path);
    }
    if (newest === undefined && !(await isWithoutTables(disk, directory))) throw unreadable(directory);
    // The good copy is overwritten last: a crash now must not take it while the other is unreadable.
    const paths = NAMES.map((name) => `${directory}/${name}`).sort(
      (one, other) => Number(one === newest?.path) - Number(other === newest?.path),
    );
    const files: DiskFile[] = [];
    try {
      for (const path of paths) files.push(await disk.open(path, { mode: 'write', durableWrites: true }));
      const manifest = new Manifest(options, files, newest);
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
    const { directoryId } = this;
    const bytes = encodeManifest({ sequence: this.#sequence, directoryId, state });
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

async function readCopies({ disk, directory, logger }: ManifestOptions): Promise<Copy[]> {
  const copies: Copy[] = [];
  for (const name of NAMES) {
    const path = `${directory}/${name}`;
    if (!(await disk.exists(path))) continue;
    const bytes = await readWholeFile(disk, path);
    const decoded = decodeManifest(bytes, path);
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
  return damaged(`neither copy of the manifest in ${directory} can be read`, `${directory}/${NAMES[0]}`);
}

/** Chance, so that two directories that were ever made have the same one about never. */
function newId(rng: Rng): number {
  return Buffer.from(rng.bytes(DIRECTORY_ID_BYTES)).readUIntLE(0, DIRECTORY_ID_BYTES);
}
