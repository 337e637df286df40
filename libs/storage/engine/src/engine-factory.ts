import { CairnError, printable, rethrowInvariant } from '@cairn/base';
import type { Clock, Disk, Logger, Metrics } from '@cairn/ports';

import type { KvEngine, VersionedKeys } from './types.js';

/** What an engine is opened with. */
export interface EngineOpenOptions {
  /**
   * Directory of the engine alone, to be created when missing. No other process has it: whoever opens the
   * engine holds a lock on what is around it.
   */
  readonly path: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Which keys end with versions; an engine may do without. */
  readonly versioned: VersionedKeys;
  /**
   * Memory for blocks of its files, and for one piece of what is not written out yet, as the operator wants
   * it.
   */
  readonly blockCacheBytes: number;
  readonly writeBufferBytes: number;
}

/** What a module of an engine from elsewhere exports, as `engineFactory` or as its default. */
export interface EngineFactory {
  /**
   * Stands in data directories that it made, so it never changes: 1 to 63 lower-case letters, digits,
   * dashes.
   */
  readonly name: string;
  /**
   * Rejects with CairnError, in a sentence for people: FAILED_PRECONDITION, CORRUPTION, FORMAT_TOO_NEW,
   * DISK_FULL.
   */
  open(options: EngineOpenOptions): Promise<KvEngine>;
}

/** Engines that come with the product. */
export const OWN_ENGINES = ['lsm', 'classic-level', 'memory'] as const;
export type OwnEngine = (typeof OWN_ENGINES)[number];

export function isOwnEngine(name: string): name is OwnEngine {
  return (OWN_ENGINES as readonly string[]).includes(name);
}

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** Of a name that is none. */
const NAME_CHARS_SHOWN = 80;
/** What the rest of the product calls. */
const METHODS = [
  ...['get', 'first', 'write', 'newBatch', 'snapshot', 'iterate', 'flush', 'deleteRange', 'compact'],
  ...['stats', 'approximateBytes', 'close'],
] as const satisfies readonly (keyof KvEngine)[];

/**
 * The factory that a module exports. Throws INVALID_ARGUMENT, with the module's name and what is wrong with
 * it.
 */
export function engineFactoryOf(module: unknown, specifier: string): EngineFactory {
  const candidate = fieldOf(specifier, module, 'engineFactory') ?? fieldOf(specifier, module, 'default');
  const name = fieldOf(specifier, candidate, 'name');
  if (typeof fieldOf(specifier, candidate, 'open') !== 'function' || typeof name !== 'string') {
    throw unusable(specifier, 'it exports no engineFactory, and no default, with a name and a function open');
  }
  if (!NAME.test(name)) {
    throw unusable(
      specifier,
      `its name "${printable(name, NAME_CHARS_SHOWN)}" is not 1 to 63 lower-case letters, digits and dashes`,
    );
  }
  if (isOwnEngine(name)) throw unusable(specifier, `its name "${name}" is that of an engine of the product`);
  return candidate as EngineFactory;
}

/**
 * Opens an engine from elsewhere. What it opens must have all of an engine, or INVALID_ARGUMENT says what
 * is missing. What `open` throws is said with the module's name: a CairnError with its code, all else is
 * INTERNAL.
 */
export async function openForeignEngine(
  factory: EngineFactory,
  specifier: string,
  options: EngineOpenOptions,
): Promise<KvEngine> {
  let engine: unknown;
  try {
    engine = await factory.open(options);
  } catch (error) {
    rethrowInvariant(error);
    throw notOpened(specifier, error);
  }
  const missing: string[] = METHODS.filter(
    (method) => typeof fieldOf(specifier, engine, method) !== 'function',
  );
  if (typeof fieldOf(specifier, engine, 'gathersWrites') !== 'boolean') missing.push('gathersWrites');
  if (missing.length === 0) return engine as KvEngine;
  throw unusable(specifier, `what it opened is no engine: it has no ${missing.join(', ')}`);
}

function unusable(specifier: string, why: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', `the engine module "${specifier}" cannot be used: ${why}`);
}

function notOpened(specifier: string, cause: unknown): CairnError {
  const message = `the engine module "${specifier}" did not open its engine: ${reasonOf(cause)}`;
  if (!CairnError.is(cause)) return new CairnError('INTERNAL', message, { cause });
  const { code, details, retryAfterMs } = cause;
  return new CairnError(code, message, { cause, details, retryAfterMs });
}

/** In words; whoever wrote the module may throw anything. */
function reasonOf(thrown: unknown): string {
  const message: unknown =
    typeof thrown === 'object' && thrown !== null ? (thrown as { message?: unknown }).message : thrown;
  return typeof message === 'string' && message !== '' ? printable(message) : 'it gives no reason';
}

function fieldOf(specifier: string, value: unknown, name: string): unknown {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function';
  if (!isObject) return undefined;
  try {
    return Reflect.get(value, name) as unknown;
  } catch (error) {
    rethrowInvariant(error);
    throw unusable(specifier, `reading its ${name} fails: ${reasonOf(error)}`);
  }
}
