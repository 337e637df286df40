import { CairnError, type ErrorCode } from '@cairn/base';
import { open, type RangeOptions, type RootDatabase, type RootDatabaseOptionsWithPath } from 'lmdb';

/** LMDB with bytes for keys and values. */
export type LmdbStore = RootDatabase<Buffer, Uint8Array>;

/** A view of the file that stays as it is until `done`; pages it needs are not used again meanwhile. */
export type LmdbView = ReturnType<LmdbStore['useReadTransaction']>;

/** Values above this come in a buffer with properties of the binding's own on it. */
const PLAIN_VALUE_BYTES_MAX = 0x8000;

/** Opens or creates the file and its lock. Throws what the binding throws. */
export function openLmdbStore(options: RootDatabaseOptionsWithPath & { safeRestore: boolean }): LmdbStore {
  return open<Buffer, Uint8Array>(options);
}

/** Rows of a span, in order; the iterator must be ended by `return` if it is not drained. */
export function rowsOf(store: LmdbStore, range: RangeOptions): Iterator<{ key: Uint8Array; value: Buffer }> {
  return store.getRange(range)[Symbol.iterator]();
}

/** The same bytes as a buffer without anything else on it. */
export function plainValue(value: Buffer): Buffer {
  if (value.length <= PLAIN_VALUE_BYTES_MAX) return value;
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}

/** The same bytes, typed as what they are: the binding copies keys with the class of its own buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Numbers of errors: LMDB's own are negative, the operating system's positive. */
const CODE_BY_NUMBER: Readonly<Record<number, ErrorCode>> = {
  [-30_797]: 'CORRUPTION', // a page that should be there is not
  [-30_796]: 'CORRUPTION',
  [-30_794]: 'CORRUPTION', // another version of the format
  [-30_793]: 'CORRUPTION', // not an LMDB file
  [-30_792]: 'DISK_FULL', // the map cannot grow any more
  [-30_790]: 'RESOURCE_EXHAUSTED', // more views than slots in the lock file
  28: 'DISK_FULL',
  122: 'DISK_FULL',
};
const CODE_BY_TEXT: readonly (readonly [RegExp, ErrorCode])[] = [
  [/no space left on device|disk quota exceeded|MDB_MAP_FULL/i, 'DISK_FULL'],
  [/MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID|VERSION_MISMATCH)/, 'CORRUPTION'],
  [/MDB_READERS_FULL/, 'RESOURCE_EXHAUSTED'],
];

/** The product's error for one of the binding. */
export function mapLmdbError(error: unknown): CairnError {
  if (CairnError.is(error)) return error;
  const text = fieldOf(error, 'message');
  const message = typeof text === 'string' ? text : String(error);
  const number = fieldOf(error, 'code');
  const byNumber = typeof number === 'number' ? CODE_BY_NUMBER[number] : undefined;
  const code = byNumber ?? CODE_BY_TEXT.find(([pattern]) => pattern.test(message))?.[1] ?? 'INTERNAL';
  return new CairnError(code, `engine: ${message}`, { cause: error });
}

/** Rejects with the reason of a failed commit: the binding's first error only promises a second one. */
export async function settleCommit(commit: Promise<unknown>): Promise<void> {
  try {
    await commit;
  } catch (error) {
    await fieldOf(error, 'commitError');
    throw error;
  }
}

/** Resolves when all commits are durable, and the file says so. */
export function syncStore(store: LmdbStore): Promise<void> {
  return new Promise((resolve, reject) => {
    const sync: unknown = Reflect.get(store, 'sync');
    if (typeof sync !== 'function') throw new CairnError('INTERNAL', 'the lmdb binding has no sync');
    Reflect.apply(sync, store, [
      (error: unknown) => {
        if (error === undefined || error === null) resolve();
        else reject(mapLmdbError(error));
      },
    ]);
  });
}

/** By shape, not by class: errors of the binding may come from another realm. */
function fieldOf(error: unknown, name: string): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, name) : undefined;
}
