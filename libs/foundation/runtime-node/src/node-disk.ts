import { constants, readSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { mkdir, open, readdir, rename, rm, stat, statfs, type FileHandle } from 'node:fs/promises';

import { DiskError, type Disk, type DiskErrorCode, type DiskFile, type DiskOpenOptions } from '@cairn/ports';

/** Absent on platforms without synchronous writes; there a write is followed by fdatasync. */
const O_DSYNC: number | undefined = constants.O_DSYNC;
/** writev takes at most this many parts at once (IOV_MAX). */
const PARTS_MAX = 1024;

/** Files of the operating system. */
export class NodeDisk implements Disk {
  async open(path: string, options: DiskOpenOptions): Promise<DiskFile> {
    const isDurable = options.durableWrites === true;
    const flags =
      options.mode === 'read'
        ? constants.O_RDONLY
        : constants.O_RDWR | constants.O_CREAT | (isDurable ? (O_DSYNC ?? 0) : 0);
    const handle = await attempt(path, () => open(path, flags, 0o644));
    return new NodeFile(path, handle, isDurable && O_DSYNC === undefined);
  }

  /**
   * One level after the other, each durable in the one above. Not the recursive call of the system library:
   * on a file system that refuses without a reason, /proc for one, that tries for ever.
   */
  async makeDirectory(path: string): Promise<void> {
    const missing: string[] = [];
    for (let at = resolve(path); !(await this.#isDirectory(at)); at = dirname(at)) {
      missing.push(at);
      if (at === dirname(at)) break;
    }
    for (const each of missing.reverse()) {
      await attempt(each, () => makeOne(each));
      await this.syncDirectory(dirname(each));
    }
  }

  async #isDirectory(path: string): Promise<boolean> {
    try {
      const found = await stat(path);
      if (found.isDirectory()) return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw toDiskError(path, error);
    }
    throw new DiskError('IO_ERROR', path, `${path} is not a directory`);
  }

  async list(path: string): Promise<string[]> {
    return (await attempt(path, () => readdir(path))).sort();
  }

  async rename(from: string, to: string): Promise<void> {
    await attempt(from, () => rename(from, to));
  }

  async remove(path: string): Promise<void> {
    await attempt(path, () => rm(path, { force: true }));
  }

  async exists(path: string): Promise<boolean> {
    try {
      await stat(path);
      return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw toDiskError(path, error);
    }
  }

  async syncDirectory(path: string): Promise<void> {
    await attempt(path, async () => {
      const handle = await open(path, constants.O_RDONLY);
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  }

  async freeBytes(path: string): Promise<number> {
    const stats = await attempt(path, () => statfs(path));
    return freeBytesOf(stats);
  }
}

/** File systems on networks report as much as fits into 64 bits; numbers of ours are exact up to 2^53. */
export function freeBytesOf({ bavail, bsize }: { readonly bavail: number; readonly bsize: number }): number {
  return Math.min(Number.MAX_SAFE_INTEGER, bavail * bsize);
}

class NodeFile implements DiskFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #syncsAfterWrite: boolean;

  constructor(path: string, handle: FileHandle, syncsAfterWrite: boolean) {
    this.path = path;
    this.#handle = handle;
    this.#syncsAfterWrite = syncsAfterWrite;
  }

  async write(parts: readonly Uint8Array[], position: number): Promise<void> {
    await attempt(this.path, async () => {
      let at = position;
      for (let first = 0; first < parts.length; first += PARTS_MAX) {
        at = await this.#writeParts(parts.slice(first, first + PARTS_MAX), at);
      }
      if (this.#syncsAfterWrite) await this.#handle.datasync();
    });
  }

  /** Writes all of the parts, however few bytes the system takes at a time. */
  async #writeParts(parts: readonly Uint8Array[], position: number): Promise<number> {
    let left = parts;
    let at = position;
    for (;;) {
      let total = 0;
      for (const part of left) total += part.length;
      if (total === 0) return at;
      const only = left.length === 1 ? left[0] : undefined;
      const { bytesWritten } =
        only === undefined
          ? await this.#handle.writev(left as Uint8Array[], at)
          : await this.#handle.write(only, 0, only.length, at);
      at += bytesWritten;
      if (bytesWritten === total) return at;
      left = remainderOf(left, bytesWritten);
    }
  }

  async read(position: number, length: number): Promise<Buffer> {
    return attempt(this.path, async () => {
      const buffer = Buffer.allocUnsafe(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await this.#handle.read(buffer, filled, length - filled, position + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return buffer.subarray(0, filled);
    });
  }

  readNow(target: Uint8Array, at: number, length: number, position: number): number {
    let filled = 0;
    try {
      while (filled < length) {
        const read = readSync(this.#handle.fd, target, at + filled, length - filled, position + filled);
        if (read === 0) break;
        filled += read;
      }
    } catch (error) {
      throw toDiskError(this.path, error);
    }
    return filled;
  }

  async sync(): Promise<void> {
    await attempt(this.path, () => this.#handle.sync());
  }

  async truncate(size: number): Promise<void> {
    await attempt(this.path, () => this.#handle.truncate(size));
  }

  async size(): Promise<number> {
    return (await attempt(this.path, () => this.#handle.stat())).size;
  }

  async close(): Promise<void> {
    await attempt(this.path, () => this.#handle.close());
  }
}

/** Another process may have made it meanwhile. */
async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

function remainderOf(parts: readonly Uint8Array[], written: number): Uint8Array[] {
  let skip = written;
  const left: Uint8Array[] = [];
  for (const part of parts) {
    if (skip >= part.length) skip -= part.length;
    else {
      left.push(skip === 0 ? part : part.subarray(skip));
      skip = 0;
    }
  }
  return left;
}

async function attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toDiskError(path, error);
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null ? String((error as { code?: unknown }).code) : '';
}

function toDiskError(path: string, error: unknown): DiskError {
  const system = codeOf(error);
  const codes: Readonly<Record<string, DiskErrorCode>> = {
    ENOENT: 'NOT_FOUND',
    ENOSPC: 'DISK_FULL',
    EDQUOT: 'DISK_FULL',
  };
  const message = error instanceof Error ? error.message : String(error);
  return new DiskError(codes[system] ?? 'IO_ERROR', path, message, error);
}
