import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from './commands.js';

const DISK_MIB = 192;
const CHUNK_BYTES = 2 ** 20;
const BALLAST = 'ballast';

/** A disk in memory for the data of one node, small enough to be filled. */
export class SmallDisk {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Mounts it; the sandbox that it is mounted in takes it away. */
  static async mount(directory: string): Promise<SmallDisk> {
    mkdirSync(directory, { recursive: true });
    await mustRun('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'tmpfs', directory]);
    return new SmallDisk(directory);
  }

  /** Where the node keeps its data. */
  get dataDirectory(): string {
    return join(this.#directory, 'data');
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#directory);
    return bavail * bsize;
  }

  /** Writes until no more than that is free; with 0, until the disk refuses. */
  async fill(leaveBytes: number): Promise<void> {
    const file = await open(join(this.#directory, BALLAST), 'w');
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      while (this.freeBytes > leaveBytes) {
        await file.write(chunk, 0, Math.min(chunk.length, this.freeBytes - leaveBytes));
      }
    } catch (error) {
      // Whoever is faster gets the last blocks.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      await file.close();
    }
  }

  free(): void {
    rmSync(join(this.#directory, BALLAST), { force: true });
  }
}
