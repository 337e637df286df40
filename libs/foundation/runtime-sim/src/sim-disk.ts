import { assert } from '@cairn/base';
import { type Disk, DiskError, type DiskErrorCode, type DiskFile, type DiskOpenOptions } from '@cairn/ports';
import { parentOf, SimNames } from './sim-directory.js';
import { type FileChange, SimFileContent, type Tearing } from './sim-file.js';
import type { SimProcess } from './sim-process.js';
import type { SimRng } from './sim-rng.js';

export type DiskOperation =
  'open' | 'read' | 'write' | 'sync' | 'truncate' | 'rename' | 'remove' | 'sync-directory';

export interface SimDiskOptions {
  /** Unit of tearing. Default 512. */
  readonly sectorBytes?: number;
  /** Writes may also end at any byte when they are torn. Default false. */
  readonly cutsAtBytes?: boolean;
  /**
   * Largest sum of file sizes; a write that would pass it fails with DISK_FULL, and once it is reached so do
   * new names. Default: no limit.
   */
  readonly bytesMax?: number;
  /** Time of a read or of a write without sync: uniform between the two. Default [0.01, 0.05]. */
  readonly accessMs?: readonly [number, number];
  /** Time of a sync and of a durable write: uniform between the two. Default [0.1, 0.4]. */
  readonly syncMs?: readonly [number, number];
  /** Chance that any operation fails with IO_ERROR. Default 0. */
  readonly errorChance?: number;
}

/** Where a bit was flipped. */
export interface RottenByte {
  readonly path: string;
  readonly position: number;
}

/** Makes the next matching operations fail. */
export interface DiskFault {
  readonly operation: DiskOperation;
  /** Only paths that contain this; default all. */
  readonly pathPart?: string;
  readonly code?: DiskErrorCode;
  /** How many operations fail; default 1. */
  readonly count?: number;
  /** How many matching operations succeed first; default 0. */
  readonly after?: number;
}

interface ArmedFault {
  readonly fault: DiskFault;
  skip: number;
  left: number;
}

/**
 * The disk of one machine: outlives the processes that use it. Files live in memory. What no sync covered is
 * lost, kept or torn by `crash`; names (creations, renames, removals) are durable only after `syncDirectory`;
 * directories themselves are durable at once. A durable write or a sync covers every earlier completed write
 * of the file. What a failed sync or a failed durable write should have covered may never become durable,
 * although readers see it and later syncs succeed.
 */
export class SimDisk {
  readonly #rng: SimRng;
  readonly #options: Required<SimDiskOptions>;
  readonly #names = new SimNames();
  readonly #directories = new Set<string>(['/', '.']);
  readonly #faults: ArmedFault[] = [];
  /** Every error that this disk made up. */
  readonly #injected = new WeakSet<Error>();
  #bytesMax: number;
  #life = 0;
  #stalledUntilMs = 0;
  #extraMs: readonly [number, number] | undefined;

  constructor(rng: SimRng, options: SimDiskOptions = {}) {
    this.#rng = rng;
    this.#options = {
      sectorBytes: options.sectorBytes ?? 512,
      cutsAtBytes: options.cutsAtBytes ?? false,
      bytesMax: options.bytesMax ?? Number.MAX_SAFE_INTEGER,
      accessMs: options.accessMs ?? [0.01, 0.05],
      syncMs: options.syncMs ?? [0.1, 0.4],
      errorChance: options.errorChance ?? 0,
    };
    this.#bytesMax = this.#options.bytesMax;
  }

  /**
   * The disk as one process sees it. With a process, operations take virtual time and die with it; without
   * one they complete at once (unit tests that need no time).
   */
  attach(process?: SimProcess): Disk {
    const life = this.#life;
    const isAlive = (): boolean => life === this.#life && process?.state !== 'dead';
    process?.onDeath(() => {
      if (life === this.#life) this.#abandonInFlight();
    });
    return new AttachedDisk(this.#core(), { process, isAlive });
  }

  /**
   * Power loss: applies the losses described above and makes every attached view inert (its operations never
   * complete). Attach again to go on.
   */
  crash(): void {
    this.#life += 1;
    // Names first: which content survives under which name does not depend on what is in it.
    const contents = new Set<SimFileContent>();
    for (const [, content] of this.#names.entries()) contents.add(content);
    this.#names.crash(this.#rng);
    for (const [, content] of this.#names.entries()) contents.add(content);
    for (const content of contents) content.crash(this.#tearing);
  }

  /** Inverts one bit of a file, durably: bit rot. */
  flipBit(path: string, position: number, bit = 0): void {
    const content = this.#names.get(path);
    assert(content !== undefined, 'no such file', { path });
    content.flipBit(position, bit);
  }

  /**
   * Flips one bit somewhere in the durable bytes of the files whose path `isWanted`, durably; never in the
   * newest write of a file, which no format can tell from an unfinished one. undefined when there is no such
   * byte.
   */
  rot(isWanted: (path: string) => boolean): RottenByte | undefined {
    const paths = this.paths().filter(isWanted);
    while (paths.length > 0) {
      const [path = ''] = paths.splice(this.#rng.integer(paths.length), 1);
      const position = this.#names.get(path)?.drawRot(this.#rng);
      if (position === undefined) continue;
      this.flipBit(path, position, this.#rng.integer(8));
      return { path, position };
    }
    return undefined;
  }

  /** Whether the file holds a flipped bit that was not written over since. */
  isRotten(path: string): boolean {
    return this.#names.get(path)?.isRotten === true;
  }

  /** Whether the error, or what caused it, was made up by this disk. */
  isInjected(error: unknown): boolean {
    for (let at = error; at instanceof Error; at = at.cause) if (this.#injected.has(at)) return true;
    return false;
  }

  /** No operation completes before `untilMs` of virtual time. */
  stallUntil(untilMs: number): void {
    this.#stalledUntilMs = untilMs;
  }

  /** From now on every operation takes so much longer, uniform between the two; undefined = no longer. */
  setExtraMs(extraMs: readonly [number, number] | undefined): void {
    this.#extraMs = extraMs;
  }

  setBytesMax(bytesMax: number): void {
    this.#bytesMax = bytesMax;
  }

  injectFault(fault: DiskFault): void {
    this.#faults.push({ fault, skip: fault.after ?? 0, left: fault.count ?? 1 });
  }

  clearFaults(): void {
    this.#faults.length = 0;
  }

  /** Paths of all files, sorted; for checks. */
  paths(): string[] {
    return [...this.#names.entries()].map(([path]) => path).sort();
  }

  /** A file's content as readers see it now; for checks. */
  peek(path: string): Buffer | undefined {
    const content = this.#names.get(path);
    return content?.read(0, content.size);
  }

  get #tearing(): Tearing {
    return { ...this.#options, rng: this.#rng };
  }

  /** Bytes that still fit. */
  get freeBytes(): number {
    // Asked with every write: without a limit nobody has to know how much there is.
    if (this.#bytesMax === Number.MAX_SAFE_INTEGER) return this.#bytesMax;
    return Math.max(0, this.#bytesMax - this.usedBytes);
  }

  get usedBytes(): number {
    let sum = 0;
    for (const [, content] of this.#names.entries()) sum += content.size;
    return sum;
  }

  #abandonInFlight(): void {
    for (const [, content] of this.#names.entries()) content.abandonInFlight(this.#tearing);
  }

  #core(): DiskCore {
    return {
      names: this.#names,
      directories: this.#directories,
      freeBytes: () => this.freeBytes,
      delayMs: (operation, nowMs, durable) => this.#delayMs(operation, nowMs, durable),
      fault: (operation, path) => this.#takeFault(operation, path),
      full: (path) => this.#error('DISK_FULL', path, `no space left for ${path}`),
      fail: (content, change, durable) => {
        if (durable) content.failDurably(change, this.#tearing);
        else content.interrupt(change, this.#tearing);
      },
      failSync: (content, covered) => {
        content.failSync(covered, this.#tearing);
      },
    };
  }

  #error(code: DiskErrorCode, path: string, message: string): DiskError {
    const error = new DiskError(code, path, message);
    this.#injected.add(error);
    return error;
  }

  #delayMs(operation: DiskOperation, nowMs: number, durable: boolean): number {
    const slow = durable || operation === 'sync' || operation === 'sync-directory';
    const [low, high] = slow ? this.#options.syncMs : this.#options.accessMs;
    const extraMs = this.#extraMs === undefined ? 0 : this.#rng.between(...this.#extraMs);
    return Math.max(this.#rng.between(low, high) + extraMs, this.#stalledUntilMs - nowMs);
  }

  #takeFault(operation: DiskOperation, path: string): DiskError | undefined {
    for (const armed of this.#faults) {
      const { fault } = armed;
      if (armed.left === 0 || fault.operation !== operation) continue;
      if (fault.pathPart !== undefined && !path.includes(fault.pathPart)) continue;
      if (armed.skip > 0) {
        armed.skip -= 1;
        continue;
      }
      armed.left -= 1;
      return this.#error(fault.code ?? 'IO_ERROR', path, `injected ${operation} fault at ${path}`);
    }
    if (this.#options.errorChance > 0 && this.#rng.chance(this.#options.errorChance)) {
      return this.#error('IO_ERROR', path, `random ${operation} fault at ${path}`);
    }
    return undefined;
  }
}

/** What the views of one disk share. */
interface DiskCore {
  readonly names: SimNames;
  readonly directories: Set<string>;
  freeBytes(): number;
  delayMs(operation: DiskOperation, nowMs: number, durable: boolean): number;
  fault(operation: DiskOperation, path: string): DiskError | undefined;
  full(path: string): DiskError;
  fail(content: SimFileContent, change: FileChange, durable: boolean): void;
  failSync(content: SimFileContent, covered: number): void;
}

interface Attachment {
  readonly process: SimProcess | undefined;
  isAlive(): boolean;
}

/** Names a directory the same way whether or not a caller ends it with a slash. */
function normal(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

class AttachedDisk implements Disk {
  readonly #core: DiskCore;
  readonly #attachment: Attachment;

  constructor(core: DiskCore, attachment: Attachment) {
    this.#core = core;
    this.#attachment = attachment;
  }

  /** Runs `effect` after the operation's time. A dead view's operation neither acts nor settles. */
  perform<Value>(
    operation: DiskOperation,
    path: string,
    effect: () => Value,
    durable = false,
  ): Promise<Value> {
    const { process } = this.#attachment;
    return new Promise((resolve, reject) => {
      const act = (): void => {
        if (!this.#attachment.isAlive()) return;
        try {
          const fault = this.#core.fault(operation, path);
          if (fault !== undefined) throw fault;
          resolve(effect());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (process === undefined) act();
      else process.schedule(this.#core.delayMs(operation, process.clock.nowMs(), durable), act);
    });
  }

  /** An operation that takes no virtual time fails here, when it has to: throws. */
  failNow(operation: DiskOperation, path: string): void {
    const fault = this.#core.fault(operation, path);
    if (fault !== undefined) throw fault;
  }

  /** A write or truncate: in flight from now on, so that a crash in between may tear it. */
  change(file: SimFile, operation: 'write' | 'truncate', change: FileChange): Promise<void> {
    if (!this.#attachment.isAlive()) return new Promise(() => undefined);
    const { content, path, durableWrites } = file;
    content.begin(change);
    const { process } = this.#attachment;
    return new Promise((resolve, reject) => {
      const act = (): void => {
        if (!this.#attachment.isAlive()) return;
        const end = change.type === 'write' ? change.position + change.bytes.length : change.size;
        const isFull = end - content.size > this.#core.freeBytes();
        const fault = isFull ? this.#core.full(path) : this.#core.fault(operation, path);
        if (fault !== undefined) {
          if (isFull) content.forget(change);
          else this.#core.fail(content, change, durableWrites);
          reject(fault);
          return;
        }
        content.complete(change, durableWrites);
        resolve();
      };
      if (process === undefined) act();
      else process.schedule(this.#core.delayMs(operation, process.clock.nowMs(), durableWrites), act);
    });
  }

  /** A sync covers the writes that are complete when it begins. */
  async sync({ content, path }: SimFile): Promise<void> {
    const covered = content.completedChanges;
    try {
      await this.perform('sync', path, () => {
        content.makeDurableUpTo(covered);
      });
    } catch (error) {
      this.#core.failSync(content, covered);
      throw error;
    }
  }

  open(path: string, options: DiskOpenOptions): Promise<DiskFile> {
    return this.perform('open', path, () => {
      let content = this.#core.names.get(path);
      if (content === undefined) {
        if (options.mode === 'read') throw new DiskError('NOT_FOUND', path, `no file ${path}`);
        if (!this.#core.directories.has(parentOf(path))) {
          throw new DiskError('NOT_FOUND', path, `no directory ${parentOf(path)}`);
        }
        if (this.#core.freeBytes() === 0) throw this.#core.full(path);
        content = new SimFileContent();
        this.#core.names.change({ type: 'link', path, content });
      }
      return new SimFile(this, path, content, options);
    });
  }

  makeDirectory(path: string): Promise<void> {
    return this.perform('open', path, () => {
      const parts = normal(path).split('/');
      for (let count = 1; count <= parts.length; count += 1) {
        this.#core.directories.add(parts.slice(0, count).join('/') || '/');
      }
    });
  }

  list(path: string): Promise<string[]> {
    return this.perform('read', path, () => {
      const directory = normal(path);
      if (!this.#core.directories.has(directory))
        throw new DiskError('NOT_FOUND', path, `no directory ${path}`);
      const prefix = directory === '/' ? '/' : `${directory}/`;
      const names = this.#core.names.list(directory);
      for (const other of this.#core.directories) {
        const rest = other.startsWith(prefix) ? other.slice(prefix.length) : '';
        if (rest !== '' && !rest.includes('/')) names.push(rest);
      }
      return names.sort();
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.perform('rename', from, () => {
      const content = this.#core.names.get(from);
      if (content === undefined) throw new DiskError('NOT_FOUND', from, `no file ${from}`);
      if (this.#core.freeBytes() === 0) throw this.#core.full(to);
      this.#core.names.change({ type: 'rename', from, to, content });
    });
  }

  remove(path: string): Promise<void> {
    return this.perform('remove', path, () => {
      if (this.#core.names.get(path) !== undefined) this.#core.names.change({ type: 'unlink', path });
    });
  }

  exists(path: string): Promise<boolean> {
    return this.perform(
      'read',
      path,
      () => this.#core.names.get(path) !== undefined || this.#core.directories.has(normal(path)),
    );
  }

  syncDirectory(path: string): Promise<void> {
    return this.perform('sync-directory', path, () => {
      this.#core.names.sync(normal(path));
    });
  }

  freeBytes(path: string): Promise<number> {
    return this.perform('read', path, () => this.#core.freeBytes());
  }
}

class SimFile implements DiskFile {
  readonly path: string;
  readonly content: SimFileContent;
  readonly durableWrites: boolean;
  readonly #disk: AttachedDisk;
  readonly #isWritable: boolean;
  #isClosed = false;

  constructor(disk: AttachedDisk, path: string, content: SimFileContent, options: DiskOpenOptions) {
    this.#disk = disk;
    this.path = path;
    this.content = content;
    this.#isWritable = options.mode === 'write';
    this.durableWrites = options.durableWrites ?? false;
  }

  #check(): void {
    assert(!this.#isClosed, 'the file is closed', { path: this.path });
  }

  async write(parts: readonly Uint8Array[], position: number): Promise<void> {
    this.#check();
    assert(this.#isWritable, 'the file is open for reading only', { path: this.path });
    await this.#disk.change(this, 'write', { type: 'write', position, bytes: Buffer.concat(parts) });
  }

  async read(position: number, length: number): Promise<Buffer> {
    this.#check();
    return this.#disk.perform('read', this.path, () => this.content.read(position, length));
  }

  readNow(target: Uint8Array, at: number, length: number, position: number): number {
    this.#check();
    this.#disk.failNow('read', this.path);
    return this.content.readInto(target, at, { position, length });
  }

  async sync(): Promise<void> {
    this.#check();
    await this.#disk.sync(this);
  }

  async truncate(size: number): Promise<void> {
    this.#check();
    assert(this.#isWritable, 'the file is open for reading only', { path: this.path });
    await this.#disk.change(this, 'truncate', { type: 'truncate', size });
  }

  async size(): Promise<number> {
    this.#check();
    return this.#disk.perform('read', this.path, () => this.content.size);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }
}
