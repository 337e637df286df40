import { CairnError, NO_BYTES } from '@cairn/base';

/** What calls take for keys and values: text is encoded as UTF-8, bytes are used as they are. */
export type BytesInput = string | Uint8Array;

/**
 * More than any cluster can be set to accept, and what fits into one message. The limits that hold are the
 * cluster's: until a router has told them the router judges.
 */
export const KEY_BYTES_CEILING = 64 * 1024;
export const VALUE_BYTES_CEILING = 12 * 1024 * 1024;
/** What a router takes in one message is 16 MiB; a larger one would end the stream of all calls. */
export const OPERATION_BYTES_MAX = 16 * 1024 * 1024 - 64 * 1024;

/**
 * For what is read, expected or deleted: it may have been stored before a limit was lowered. The router knows
 * what no setting ever allowed.
 */
export const WIDEST_SIZES: SizeLimits = {
  keyBytesMax: KEY_BYTES_CEILING,
  valueBytesMax: VALUE_BYTES_CEILING,
};

/**
 * Views the input as a Buffer. Bytes are not copied: they belong to the client until the call settles and
 * must not change meanwhile.
 */
export function toBuffer(input: BytesInput, field: string): Buffer {
  if (typeof input === 'string') {
    // UTF-8 has no bytes for half of a surrogate pair; another character would be written in its place.
    if (!input.isWellFormed()) throw invalidArgument(field, `${field} is not text: half of a surrogate pair`);
    return Buffer.from(input, 'utf8');
  }
  if (Buffer.isBuffer(input)) return input;
  if (input instanceof Uint8Array) return Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  throw invalidArgument(field, `${field} must be a string or a Uint8Array, not ${typeOf(input)}`);
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : typeof value;
}

/** An INVALID_ARGUMENT that names the field; read it back with `fieldOf`. */
export function invalidArgument(field: string, message: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', message, { details: { field } });
}

/** The offending field of an INVALID_ARGUMENT, when the error names one. */
export function fieldOf(error: unknown): string | undefined {
  if (!CairnError.is(error)) return undefined;
  const field = error.details['field'];
  return typeof field === 'string' && field !== '' ? field : undefined;
}

/** Sizes that the cluster accepts. */
export interface SizeLimits {
  keyBytesMax: number;
  valueBytesMax: number;
}

/** Whether no user key begins so. */
export function isReserved(key: Buffer): boolean {
  return key[0] === 0xff;
}

export function reservedKey(field: string): CairnError {
  return invalidArgument(
    field,
    `${field} begins with the byte FF: such keys are reserved for the database itself`,
  );
}

export function checkKey(key: Buffer, limits: SizeLimits, field = 'key'): void {
  if (key.length === 0) throw invalidArgument(field, `${field} must not be empty`);
  if (isReserved(key)) throw reservedKey(field);
  if (key.length > limits.keyBytesMax) {
    throw invalidArgument(field, `${field} has ${key.length} bytes; the limit is ${limits.keyBytesMax}`);
  }
}

/** For scan bounds, where empty means "from the beginning" or "to the end". */
export function checkBound(bound: Buffer, limits: SizeLimits, field: string): void {
  // A bound may be the longest key plus the one byte that makes it the next key.
  if (bound.length > limits.keyBytesMax + 1) {
    throw invalidArgument(field, `${field} has ${bound.length} bytes; the limit is ${limits.keyBytesMax}`);
  }
}

export function checkValue(value: Buffer, limits: SizeLimits, field = 'value'): void {
  if (value.length > limits.valueBytesMax) {
    throw invalidArgument(field, `${field} has ${value.length} bytes; the limit is ${limits.valueBytesMax}`);
  }
}

/** The smallest key above every key with this prefix; empty when there is none (all bytes are 0xff). */
export function prefixEnd(prefix: BytesInput): Buffer {
  const bytes = toBuffer(prefix, 'prefix');
  let { length } = bytes;
  while (length > 0 && bytes[length - 1] === 0xff) length -= 1;
  if (length === 0) return NO_BYTES;
  const end = Buffer.from(bytes.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

/** The smallest key above this key. */
export function keyAfter(key: BytesInput): Buffer {
  const bytes = toBuffer(key, 'key');
  const next = Buffer.alloc(bytes.length + 1);
  next.set(bytes, 0);
  return next;
}
