/**
 * The only way files enter. Errors are `DiskError`; the codes that callers act on are `NOT_FOUND`,
 * `DISK_FULL` and `IO_ERROR`.
 */
export interface Disk {
  /** Opens or creates a file. */
  open(path: string, options: DiskOpenOptions): Promise<DiskFile>;
  /** Creates a directory and its parents, durably; no error if it exists. */
  makeDirectory(path: string): Promise<void>;
  /** Names (not paths) in a directory, sorted. */
  list(path: string): Promise<string[]>;
  /** Atomically replaces `to`; durable only after syncDirectory of the parent. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; no error if it is not there. */
  remove(path: string): Promise<void>;
  exists(path: string): Promise<boolean>;
  /** Makes creations, renames and removals in the directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Bytes that can still be written on the file system that holds the path. */
  freeBytes(path: string): Promise<number>;
}

export interface DiskOpenOptions {
  /** `read`: must exist. `write`: created when absent, kept when present; also readable. */
  readonly mode: 'read' | 'write';
  /** Every write resolves only once its bytes are durable (O_DSYNC, or write followed by fdatasync). */
  readonly durableWrites?: boolean;
}

export interface DiskFile {
  readonly path: string;
  /** Writes the parts one after the other at `position`. The buffers belong to the file until it resolves. */
  write(parts: readonly Uint8Array[], position: number): Promise<void>;
  /** Reads up to `length` bytes; fewer only at the end of the file. */
  read(position: number, length: number): Promise<Buffer>;
  /**
   * Reads up to `length` bytes into `target[at, ...)` on the calling thread and answers how many: for small
   * pieces that the system's cache is likely to hold, where a trip to another thread costs more than the
   * read. Throws DiskError.
   */
  readNow(target: Uint8Array, at: number, length: number, position: number): number;
  /** Makes all resolved writes durable. */
  sync(): Promise<void>;
  truncate(size: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export type DiskErrorCode = 'NOT_FOUND' | 'DISK_FULL' | 'IO_ERROR' | 'LOCKED';

export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly code: DiskErrorCode;
  readonly path: string;

  constructor(code: DiskErrorCode, path: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.path = path;
  }
}

/** Reads a whole file. */
export async function readWholeFile(disk: Disk, path: string): Promise<Buffer> {
  const file = await disk.open(path, { mode: 'read' });
  try {
    return await file.read(0, await file.size());
  } finally {
    await file.close();
  }
}

/** Replaces a file atomically and durably: write aside, sync, rename, sync the directory. */
export async function writeFileDurably(
  disk: Disk,
  directory: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const aside = `${directory}/${name}.new`;
  await disk.remove(aside);
  const file = await disk.open(aside, { mode: 'write' });
  try {
    await file.write([bytes], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(aside, `${directory}/${name}`);
  await disk.syncDirectory(directory);
}
