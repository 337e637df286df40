import { CairnError, IdTable, type ErrorCode } from '@cairn/base';
import { ClassicLevel, type Iterator } from 'classic-level';

import type { EngineLevelStats } from './types.js';

/**
 * The native write batch below the abstract layer, whose checks, hooks and per-operation objects cost
 * more than the write. These are the extension points that abstract-level gives to implementations; a
 * change of them is a new major. `put` and `del` copy at once.
 */
export interface NativeBatch {
  _put(key: Uint8Array, value: Uint8Array): void;
  _del(key: Uint8Array): void;
  _clear(): void;
  _write(options: object): Promise<void>;
  close(): Promise<void>;
}

export type NativeIterator = Iterator<NativeLevel, Buffer, Buffer>;

/** Where an open resource is in the table. */
const RESOURCE_ID = Symbol('resource id');

/** An iterator, a snapshot or a batch. */
interface Resource {
  close(): Promise<void>;
  [RESOURCE_ID]?: number;
}

/**
 * LevelDB with buffers for keys and values.
 *
 * What is open is kept in a table of our own: the set that the binding keeps for it would hold on to every
 * iterator until the next full collection (see `IdTable`), and each point read of the engine makes one.
 */
export class NativeLevel extends ClassicLevel<Buffer, Buffer> {
  declare private readonly _chainedBatch: () => NativeBatch;
  readonly #resources = new IdTable<Resource>();
  #lastResourceId = 0;

  constructor(path: string) {
    super(path, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  }

  override attachResource(resource: Resource): void {
    this.#lastResourceId += 1;
    resource[RESOURCE_ID] = this.#lastResourceId;
    this.#resources.set(this.#lastResourceId, resource);
  }

  override detachResource(resource: Resource): void {
    this.#resources.delete(resource[RESOURCE_ID] ?? 0);
  }

  /** Closes what is open, too. Nobody may open anything any more. */
  override async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#resources.sorted().map((resource) => resource.close()));
    await super.close();
    for (const outcome of closed) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** An empty native batch; must be closed, which closing the database also does. */
  nativeBatch(): NativeBatch {
    return this._chainedBatch();
  }
}

/** A line of the table that LevelDB makes of its levels: number, files, MiB, and what compactions did. */
const LEVEL_LINE = /^\s*(\d+)\s+(\d+)\s+(\d+)(?:\s+\d+){3}\s*$/;

/**
 * The levels out of the text of the property `leveldb.stats`. Files of level 0 overlap, those of others do
 * not.
 */
export function levelsOf(text: string): EngineLevelStats[] {
  const levels: EngineLevelStats[] = [];
  for (const line of text.split('\n')) {
    const found = LEVEL_LINE.exec(line);
    if (found === null) continue;
    const [level, tables, mebibytes] = found.slice(1).map(Number) as [number, number, number];
    if (tables === 0) continue;
    levels.push({ level, runs: level === 0 ? tables : 1, tables, bytes: mebibytes * 1024 * 1024 });
  }
  return levels;
}

/** The same bytes as the binding's types want them. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Error texts of the operating system that mean "no room": ENOSPC, EDQUOT. LevelDB passes them on as
 * prose only.
 */
const NO_ROOM = /no space left on device|disk quota exceeded/i;
const CODE_BY_NATIVE_CODE: Readonly<Record<string, ErrorCode>> = {
  LEVEL_CORRUPTION: 'CORRUPTION',
  LEVEL_LOCKED: 'FAILED_PRECONDITION',
  LEVEL_DATABASE_NOT_OPEN: 'UNAVAILABLE',
  LEVEL_ITERATOR_NOT_OPEN: 'FAILED_PRECONDITION',
  LEVEL_SNAPSHOT_NOT_OPEN: 'FAILED_PRECONDITION',
};

/** The product's error for one of the binding; open errors are unwrapped to what LevelDB said. */
export function mapNativeError(error: unknown): CairnError {
  if (CairnError.is(error)) return error;
  const cause = fieldOf(error, 'cause');
  const isWrapped = cause !== undefined && nativeCodeOf(error) === 'LEVEL_DATABASE_NOT_OPEN';
  const inner = isWrapped ? cause : error;
  const text = fieldOf(inner, 'message');
  const message = typeof text === 'string' ? text : String(inner);
  const code = NO_ROOM.test(message) ? 'DISK_FULL' : (CODE_BY_NATIVE_CODE[nativeCodeOf(inner)] ?? 'INTERNAL');
  return new CairnError(code, `engine: ${message}`, { cause: error });
}

function nativeCodeOf(error: unknown): string {
  const code = fieldOf(error, 'code');
  return typeof code === 'string' ? code : '';
}

/** By shape, not by class: errors of the binding may come from another realm. */
function fieldOf(error: unknown, name: string): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, name) : undefined;
}
